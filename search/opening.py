"""Opening a study: its definition is kept, and what a dead coordinator left behind is freed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from datetime import datetime, timedelta

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from studies import records
from studies.database import Database
from studies.definition import StudyDefinition
from studies.errors import StudyError
from studies.lease import Leases
from studies.reading import parse
from studies.tables import Study, now
from training import Benchmark

GRACE = timedelta(seconds=10)
"""How old a running trial must be that names no living coordinator before it counts as dead."""


def register(
    database: Database,
    definition: StudyDefinition,
    text: str,
    *,
    total: int,
    amend: bool,
    own: Iterable[Benchmark] = (),
) -> Study:
    """Keep a study's definition, its total of trials, and the protocols of the user's benchmarks.

    Raises:
        StudyError: the study was started with another definition, or a benchmark of the user's own
            has other images or other code by now, and ``amend`` is not given.
    """
    # By way of JSON, as the stored ones are.
    benchmarks = json.loads(json.dumps({each.name: each.protocol for each in own}))
    with database.transaction() as session:
        study = records.find_study(session, definition.name)
        if study is None:
            study = Study(
                name=definition.name, definition=text, total=total, benchmarks=benchmarks
            )
            session.add(study)
            return study
        before = parse(study.definition, source=f"{definition.name}.toml")
        differences = before.differences(definition)
        for name, protocol in (study.benchmarks or {}).items():
            differences += [
                f"{name}.{key}: {value!r} -> {benchmarks[name].get(key)!r}"
                for key, value in protocol.items()
                if name in benchmarks and benchmarks[name].get(key) != value
            ]
        if differences:
            if not amend:
                raise StudyError(
                    f"study {definition.name!r} was started with another definition "
                    f"({'; '.join(differences)}): give the study another name, or say --amend"
                )
            study.definition, study.amended = text, now()
        study.total = total
        study.benchmarks = {**(study.benchmarks or {}), **benchmarks}
        return study


def open_optuna_study(storage: RDBStorage, name: str) -> optuna.Study:
    """Optuna's study of that name, made where it is missing; gains are maximised."""
    study = optuna.create_study(
        study_name=name, storage=storage, direction="maximize", load_if_exists=True
    )
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(["gain"])
    return study


def release_dead_trials(
    study: optuna.Study, storage: RDBStorage, leases: Leases, *, at_work: set[int]
) -> None:
    """Let the trials of dead coordinators wait, so that the next ``ask`` gives them out again.

    Args:
        study: Optuna's study.
        storage: where it is kept.
        leases: who is alive.
        at_work: this coordinator's own trials, by number.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.number not in at_work and not _is_at_work(trial, leases):
            requeue(study, storage, trial.number)


def requeue(study: optuna.Study, storage: RDBStorage, number: int) -> None:
    """Let a running trial wait, with its parameters and reports."""
    # Looked up by number: Study keeps the ids of the storage to itself.
    study_id = storage.get_study_id_from_name(study.study_name)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
    storage.set_trial_state_values(trial_id, TrialState.WAITING)


def _is_at_work(trial: FrozenTrial, leases: Leases) -> bool:
    lease = trial.user_attrs.get("lease")
    if lease is not None and int(lease) != leases.mine and leases.alive(int(lease)):
        return True
    # Another coordinator may be between asking for this trial and putting its name on it.
    young = trial.datetime_start is not None and datetime.now() - trial.datetime_start < GRACE
    return leases.shared and young
