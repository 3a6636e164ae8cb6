"""A whole study: controls, trials, the ladder, and where the definition says so, promotion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import optuna

from search.coordinator import Coordinator
from search.evaluation import Entry, evaluate
from search.executors import Executor, InProcess, Place
from search.ladder import climb, load, train_controls, train_references
from search.opening import open_optuna_study, register
from search.promotion import Promotion, promote
from search.queueing import Queued, best_of, starts
from search.runs import Watcher, Workbench
from search.tuning import toml, tuned_study
from search.width import settle
from search.workers import Workers
from studies import records
from studies.database import Database
from studies.definition import StudyDefinition
from studies.errors import StudyError
from studies.leaderboard import gains_by_run
from studies.lease import Leases, alone, lease
from studies.tables import Study

Watching = Callable[[dict[str, int]], AbstractContextManager[Watcher]]
"""Shows a plan (epochs by phase) while it is carried out."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where a command works.

    Attributes:
        checkpoints: folder of the runs that are not complete.
        workers: worker processes; 1 trains in this process, "auto" measures how many pay.
        executor: makes the executor, where it is neither of these two.
    """

    database: Database
    checkpoints: Path
    place: Place
    workers: int | Literal["auto"] = 1
    executor: Callable[[], Executor] | None = None


@contextmanager
def _opened(
    settings: Settings,
    watching: AbstractContextManager[Watcher],
    benchmark: str,
    study_id: int | None = None,
) -> Iterator[Workbench]:
    """A workbench for the length of the block; how wide it is may be measured on a benchmark."""
    settings.checkpoints.mkdir(parents=True, exist_ok=True)
    with closing(_executor(settings)) as executor, watching as watcher:
        if settings.workers == "auto" and isinstance(executor, Workers):
            watcher.note(settle(executor, benchmark))
        yield Workbench(
            database=settings.database,
            executor=executor,
            checkpoints=settings.checkpoints,
            watcher=watcher,
            study_id=study_id,
        )


def _executor(settings: Settings) -> Executor:
    if settings.executor is not None:
        return settings.executor()
    if settings.workers == 1:
        return InProcess(settings.place)
    return Workers(settings.place, 1 if settings.workers == "auto" else settings.workers)


def run_study(
    settings: Settings,
    definition: StudyDefinition,
    text: str,
    *,
    total: int,
    amend: bool,
    watching: Watching,
) -> None:
    """Run a study to its total of trials and up its ladder, going on where it was left.

    Raises:
        StudyError: the definition differs from the one that the study was started with, another
            coordinator holds the study, or a data set is missing.
        RunFailedError: a run failed for a reason that is not its loss's.
    """
    starts(definition, settings.database)  # refused before anything begins
    with ExitStack() as stack:
        row, leases = stack.enter_context(_held(settings, definition, text, total, amend=amend))
        view = watching(_plan(definition, settings.place, total))
        first = definition.search.benchmarks[0]
        bench = stack.enter_context(_opened(settings, view, first, row.id))
        study = _climbed(bench, definition, leases, total)
        if definition.promotion.automatic and load(bench, definition, study).picks():
            rivals = _tuned(settings, bench, definition, total, amend=amend)
            with leases.in_turn():
                promote(bench, definition, study, Promotion(), rivals)


@contextmanager
def _held(
    settings: Settings, definition: StudyDefinition, text: str, total: int, *, amend: bool
) -> Iterator[tuple[Study, Leases]]:
    """A study that is started, or gone on with, for the length of the block."""
    database, own = settings.database, settings.place.own
    with alone(database, definition.name):
        row = register(database, definition, text, total=total, amend=amend, own=own)
        with lease(database, row.id) as leases:
            yield row, leases


def _climbed(
    bench: Workbench, definition: StudyDefinition, leases: Leases, total: int
) -> optuna.Study:
    """Bring a study to its total of trials, and up its ladder."""
    study = open_optuna_study(bench.database.storage, definition.name)
    with leases.in_turn():
        controls = train_controls(bench, definition, 0)
        train_references(bench, definition)
    Coordinator(bench, definition, study, controls, leases).run(total)
    with leases.in_turn():
        for rung in range(1, len(definition.rungs)):
            climb(bench, definition, study, rung)
    return study


def _tuned(
    settings: Settings, bench: Workbench, definition: StudyDefinition, total: int, *, amend: bool
) -> list[Queued]:
    """The tuned baseline, if the definition asks for it: the best of a study of its own."""
    if not definition.promotion.tuned:
        return []
    tuned = tuned_study(definition)
    bench.watcher.note(
        f"tuned baseline: study {tuned.name}, at most "
        f"{sum(_plan(tuned, settings.place, total).values())} epochs"
    )
    with _held(settings, tuned, toml(tuned), total, amend=amend) as (row, leases):
        _climbed(replace(bench, study_id=row.id), tuned, leases, total)
    (best,) = best_of(tuned.name, 1, settings.database)
    return [Queued(f"tuned label smoothing ({best.spec.label})", best.spec)]


def promote_study(
    settings: Settings, definition: StudyDefinition, wanted: Promotion, watching: Watching
) -> None:
    """Promote losses of a study that was run before.

    Raises:
        StudyError: a trial that was named has no result, or no trial has.
    """
    database = settings.database
    with database.transaction() as session:
        row = records.find_study(session, definition.name)
    if row is None:
        raise StudyError(f"study {definition.name!r} was never started here")
    study = open_optuna_study(database.storage, definition.name)
    first = definition.search.benchmarks[0]
    with _opened(settings, watching({}), first, row.id) as bench:
        rivals = _tuned(settings, bench, definition, row.total, amend=True)
        promote(bench, definition, study, wanted, rivals)


def evaluate_loss(  # noqa: PLR0913 (every argument is given by name)
    settings: Settings,
    entry: Entry,
    benchmarks: Sequence[str],
    watching: Watching,
    *,
    epochs: int | None = None,
    subset: int | None = None,
    again: bool = False,
) -> list[dict[str, Any]]:
    """Evaluate a loss outside any study.

    Args:
        settings: where.
        entry: the loss and its seeds.
        benchmarks: by name.
        watching: shows how it goes.
        epochs: None for the benchmark's own.
        subset: train on so many images only: a dry run, which no leaderboard shows.
        again: train also what was evaluated before.

    Returns:
        A mapping for each run, ready for JSON; its gain is None where cross-entropy was evaluated
        on too few seeds at the same epochs.
    """
    total = sum(epochs or settings.place.benchmark(name).epochs for name in benchmarks)
    plan = {"evaluation": len(entry.seeds) * total}
    with _opened(settings, watching(plan), benchmarks[0]) as bench:
        found = evaluate(bench, [entry], benchmarks, epochs, subset=subset, again=again)
    with settings.database.transaction() as session:
        gains = gains_by_run(records.evaluations(session))
    return [
        {
            "loss": entry.name,
            "benchmark": run.benchmark,
            "seed": run.seed,
            "epochs": run.epochs,
            "subset": run.subset,
            "best_accuracy": round(run.best_accuracy, 4),
            "final_accuracy": round(run.final_accuracy, 4),
            "cross_entropy": run.curves["cross_entropy"][-1],
            "calibration_error": round(run.curves["calibration_error"][-1], 4),
            "gain": gains.get(run.id),
            "seconds": round(run.seconds, 3),
            "device": run.device,
        }
        for _, run in found
    ]


def _plan(definition: StudyDefinition, place: Place, total: int) -> dict[str, int]:
    search, promotion = definition.search, definition.promotion
    benchmarks = len(search.benchmarks)
    plan = {
        "controls": search.controls * search.epochs * benchmarks,
        "search": total * search.seeds * search.epochs * benchmarks,
    }
    for number, (above, rung) in enumerate(
        zip(definition.rungs, definition.ladder, strict=False), start=1
    ):
        plan[f"controls of rung {number}"] = rung.seeds * rung.epochs * benchmarks
        plan[f"rung {number}"] = above.keep * rung.seeds * rung.epochs * benchmarks
    if promotion.automatic:
        losses = promotion.top + len(promotion.against) + len(promotion.scales)
        losses += promotion.scale_matched + promotion.tuned
        runs = promotion.controls + len(promotion.seeds) * losses
        plan["evaluation"] = runs * sum(
            promotion.epochs or place.benchmark(name).epochs for name in definition.evaluated_on
        )
    return plan
