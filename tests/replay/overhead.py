"""What surrounds the training, measured with recorded runs replayed in place of training.

    python -m tests.replay.overhead --sizes 100 1000 10000

Two slots stand for two worker processes and take as long as training does: the recorded seconds,
scaled so that a whole trial takes what it takes on a core that does nothing else. The critical
path of a trial is the time for which a slot stood free before the trial began: nobody trains then.
Nothing is pruned or screened on our side, unless it is asked for: from the copies that fill the
study its sampler learns nothing of what the screening refuses.
Beside it, plain Optuna on the same trials in the same run: ask, sample, report every epoch and ask
whether to prune, tell. In a process that trains itself, all of that is on the critical path.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import optuna
from click import echo
from optuna.trial import FrozenTrial, TrialState, create_trial

from losses import LossSpec
from search.executors import Executor, RunRequest
from search.opening import open_optuna_study
from search.runs import CURVES, TrialUpdate
from search.space import suggest
from studies.database import Database
from studies.definition import StudyDefinition
from studies.reading import parse
from studies.standings import spec_of
from studies.tables import Run
from tests.replay import bank
from tests.replay.executor import Replay
from tests.replay.study import Silent, open_database, replay_study
from training import EpochReport, benchmark

SLOTS = 2
REAL = 24
"""Trials of the study that the others are copied from."""

STUDY = """
name = "overhead"
[search]
benchmarks = ["resnet8-digits"]
trials = 24
epochs = 15
seeds = 2
keep = 3
[space]
family = "composite"
schedules = ["tau", "eps", "gamma", "kappa"]
"""


class AnyCurve:
    """Gives each loss and seed one of the recorded runs, always the same one."""

    def __init__(self, runs: bank.Bank) -> None:
        self._runs = [run for run in runs.values() if run.split == "search" and run.is_complete]

    def __call__(self, request: RunRequest) -> tuple[EpochReport, ...]:
        """The reports of a run."""
        chosen = random.Random(f"{request.loss.id}/{request.seed}").choice(self._runs)
        return chosen.reports

    @property
    def seconds(self) -> float:
        """Mean time of a trial of the study that is not pruned."""
        runs = [sum(report.seconds for report in run.reports) for run in self._runs]
        return 2 * statistics.fmean(runs)


class Stopwatch(Silent):
    """Reads this process's CPU time at the first trial, after what opens a study of this size."""

    began: float | None = None

    def trial(self, update: TrialUpdate) -> None:
        """See ``Watcher``."""
        self.began = self.began or time.process_time()


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Milliseconds a trial: the critical path, one by one, and the process's CPU time."""

    path: list[float]
    cpu: float


def ours(
    database: Database, source: AnyCurve, size: int, trials: int, seconds: float, more: str
) -> Measured:
    """So many more trials on top of those that are there, with two slots."""
    made: list[Replay] = []
    pace = seconds / source.seconds

    def executor() -> Executor:
        made.append(Replay(source, slots=SLOTS, pace=pace))
        return made[-1]

    watch = Stopwatch()
    replay_study(database, STUDY + more, executor, total=size + trials, amend=True, watcher=watch)
    cpu = (time.process_time() - (watch.began or 0.0)) / trials
    return Measured(path=[1000 * wait for wait in made[0].waits], cpu=1000 * cpu)


def plain_optuna(file: Path, source: AnyCurve, trials: int) -> Measured:
    """Optuna as its documents use it, in its own settings, on the same trials."""
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # as Optuna makes its files
    definition = parse(STUDY, source="overhead.toml")
    study = optuna.load_study(
        study_name="overhead",
        storage=f"sqlite:///{file}",
        sampler=optuna.samplers.TPESampler(multivariate=True, group=True, seed=0),
        pruner=optuna.pruners.MedianPruner(),
    )
    path = []
    cpu = time.process_time()
    for _ in range(trials):
        start = time.perf_counter()
        trial = study.ask()
        spec = suggest(trial, definition.space, definition.search.epochs)
        value, state = 0.0, TrialState.COMPLETE
        for step, report in enumerate(_reports(definition, spec, source)):
            value = report.accuracy
            trial.report(value, step)
            if trial.should_prune():
                state = TrialState.PRUNED
                break
        study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
        path.append(1000 * (time.perf_counter() - start))
    return Measured(path=path, cpu=1000 * (time.process_time() - cpu) / trials)


def seeded(folder: Path, source: AnyCurve, size: int) -> Path:
    """A database with a study of so many trials, most of them copies with parameters of their own.

    It is made once and kept in the folder.
    """
    file = folder / f"{size}.db"
    if file.exists():
        return file
    work = folder / f"{size}.work"
    for stale in folder.glob(f"{work.name}*"):
        stale.unlink()
    database = open_database(work)
    definition = replay_study(database, STUDY, lambda: Replay(source, slots=SLOTS), total=REAL)
    study = open_optuna_study(database.storage, definition.name)
    copies = list(_copies(study, definition, size - REAL))
    study.add_trials(copies)
    with database.transaction() as session:
        provenance = session.query(Run.provenance_id).first()
        session.add_all(
            _run(spec_of(copy), seed, source, provenance[0])
            for copy in copies
            if copy.state == TrialState.COMPLETE
            for seed in definition.seeds(0)
        )
    database.close()
    work.rename(file)
    return file


def _copies(study: optuna.Study, definition: StudyDefinition, count: int) -> Iterator[FrozenTrial]:
    templates = [
        t for t in study.get_trials() if t.user_attrs["outcome"] in ("complete", "pruned")
    ]
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for template in islice(cycle(templates), count):
        trial = drawn.ask()
        spec = suggest(trial, definition.space, definition.search.epochs)
        yield create_trial(
            state=template.state,
            value=template.value,
            params=trial.params,
            distributions=trial.distributions,
            intermediate_values=template.intermediate_values,
            user_attrs=template.user_attrs | {"spec": spec.to_dict()},
        )


def _run(spec: LossSpec, seed: int, source: AnyCurve, provenance: int) -> Run:
    request = RunRequest(benchmark=bank.BENCHMARK, loss=spec, seed=seed, epochs=15)
    reports = source(request)
    return Run(
        benchmark=request.benchmark,
        protocol=benchmark(request.benchmark).digest,
        loss_id=spec.id,
        spec=spec.to_json(),
        seed=seed,
        epochs=request.epochs,
        split=request.split,
        device="cpu",
        outcome="complete",
        curves={name: [getattr(each, name) for each in reports] for name in CURVES},
        seconds=sum(each.seconds for each in reports),
        provenance_id=provenance,
    )


def _reports(
    definition: StudyDefinition, spec: LossSpec, source: AnyCurve
) -> Iterator[EpochReport]:
    for seed in definition.seeds(0):
        yield from source(RunRequest(benchmark=bank.BENCHMARK, loss=spec, seed=seed, epochs=15))


def measure(
    folder: Path, source: AnyCurve, size: int, trials: int, seconds: float, more: str
) -> str:
    """One row of the table."""
    file = seeded(folder, source, size)
    for name in ("ours.db", "plain.db"):
        for stale in folder.glob(f"{name}*"):
            stale.unlink()
        shutil.copy(file, folder / name)
    database = open_database(folder / "ours.db")
    mine = ours(database, source, size, trials, seconds, more)
    database.close()
    plain = plain_optuna(folder / "plain.db", source, trials)
    cells = [f"{size:,}"]
    for each in (mine, plain):
        mean, deviation = statistics.fmean(each.path), statistics.stdev(each.path)
        share = mean / (10 * seconds)
        cells += [f"{mean:.0f} ({deviation:.0f})", f"{share:.1f} %", f"{each.cpu:.0f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--trials", type=int, default=24, help="measured at each size")
    parser.add_argument("--seconds", type=float, default=4.0, help="that a whole trial trains for")
    parser.add_argument("--pruning", action="store_true", help="ours prunes, too")
    parser.add_argument("--screening", action="store_true", help="ours screens, too")
    parser.add_argument("--folder", type=Path, help="where the databases are made, and kept")
    parser.add_argument("--bank", type=Path, default=bank.FILE)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    source = AnyCurve(bank.load(options.bank))
    more = f"[screening]\nenabled = {str(options.screening).lower()}\n"
    more += "" if options.pruning else '[pruner]\nname = "none"\n'
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    echo(
        f"{options.trials} trials at each size; a whole trial trains for {options.seconds} s; "
        f"load of the machine's {os.cpu_count()} cores before: {load}\n\n"
        "| trials there | ours, critical path, ms a trial (sd) | of a trial | CPU, ms a trial "
        "| plain Optuna, ms a trial (sd) | of a trial | CPU, ms a trial |\n"
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        for size in options.sizes:
            row = measure(folder, source, size, options.trials, options.seconds, more)
            echo(row)


if __name__ == "__main__":
    main()
