"""Losses that become a study's next trials: the baselines, and what its user expects of others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import optuna

from losses import AnyLoss, LossSpec, published
from search.space import point
from studies import records
from studies.database import Database
from studies.definition import Start, StudyDefinition
from studies.errors import StudyError
from studies.reading import parse
from studies.standings import BASELINES, Ladder
from studies.view import trials_of


class Queued(NamedTuple):
    """A loss, and under which name it was asked for."""

    name: str
    spec: AnyLoss


def enqueue_baselines(study: optuna.Study, definition: StudyDefinition) -> None:
    """Let the baselines that lie inside the space come first, each once."""
    known = {trial.user_attrs.get("baseline") for trial in study.get_trials(deepcopy=False)}
    for name in BASELINES:
        values = _point(published()[name], definition)
        if values is not None and name not in known:
            study.enqueue_trial(values, user_attrs={"baseline": name})


def references(definition: StudyDefinition) -> dict[str, LossSpec]:
    """The baselines that lie outside a study's space: they are run beside its trials."""
    specs = {name: published()[name] for name in BASELINES[1:]}
    return {name: spec for name, spec in specs.items() if _point(spec, definition) is None}


def starts(definition: StudyDefinition, database: Database) -> list[Queued]:
    """The losses of a definition's [[start]] tables.

    Raises:
        StudyError: one lies outside the space, or is looked for in a study that has none.
    """
    queued = [each for table in definition.start for each in _of_table(table, database)]
    check(queued, definition)
    return queued


def check(queued: Iterable[Queued], definition: StudyDefinition) -> None:
    """Refuse losses that the study could not draw itself.

    Raises:
        StudyError: naming the first.
    """
    for name, spec in queued:
        if _point(spec, definition) is None:
            raise StudyError(
                f"{name} must lie inside the space of study {definition.name!r} "
                f"({', '.join(definition.space.family)}) but does not: {spec.formula}"
            )


def enqueue(
    study: optuna.Study, definition: StudyDefinition, queued: Sequence[Queued]
) -> list[Queued]:
    """Let losses be the next trials; what the study has tried or queued already is left out.

    Returns:
        Those that were not there before.
    """
    tried = [
        trial.user_attrs.get("spec") or trial.system_attrs.get("fixed_params")
        for trial in study.get_trials(deepcopy=False)
    ]
    new = []
    for each in queued:
        values = _point(each.spec, definition)
        if each.spec.to_dict() not in tried and values not in tried:
            study.enqueue_trial(values or {}, user_attrs={"start": each.name})
            tried.append(values)
            new.append(each)
    return new


def best_of(name: str, top: int, database: Database) -> list[Queued]:
    """The best losses of another study in the same database, by the highest rung climbed.

    Raises:
        StudyError: it was never started there, or has no complete trial yet.
    """
    with database.transaction() as session:
        row = records.find_study(session, name)
        if row is None:
            raise StudyError(f"study {name!r} was never started here: losscout search {name}")
        definition = parse(row.definition, source=f"{name}.toml")
        ladder = Ladder.load(session, row.id, definition, trials_of(database, name))
    rungs = (ladder.candidates(rung) for rung in range(len(definition.rungs), 0, -1))
    picks = next((each for each in rungs if each), [])
    if not picks:
        raise StudyError(f"study {name!r} has no complete trial yet")
    return [Queued(f"trial {pick.number} of {name}", pick.spec) for pick in picks[:top]]


def _of_table(table: Start, database: Database) -> list[Queued]:
    if table.study is not None:
        return best_of(table.study, table.top, database)
    spec = table.spec
    return [Queued(table.loss if isinstance(table.loss, str) else spec.label, spec)]


def _point(spec: AnyLoss, definition: StudyDefinition) -> dict[str, Any] | None:
    if not isinstance(spec, LossSpec):  # a user's own file is a point of no space
        return None
    return point(spec, definition.space, definition.search.epochs)
