"""Evaluations: losses on the sealed test split, each run stored and every opening recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from losses import AnyLoss
from search.executors import RunRequest
from search.runs import Wanted, Workbench, complete
from search.terminal import duration
from studies import records
from studies.tables import Run


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A loss to evaluate: under which name, on which seeds, and from which trial if any."""

    name: str
    spec: AnyLoss
    seeds: Sequence[int]
    trial: int | None = None


def evaluate(  # noqa: PLR0913 (options are given by name)
    bench: Workbench,
    entries: Iterable[Entry],
    benchmarks: Sequence[str],
    epochs: int | None,
    *,
    subset: int | None = None,
    again: bool = False,
    promise: str = "",
) -> list[tuple[Entry, Run]]:
    """Evaluate losses on benchmarks, by the benchmarks' own epochs unless told otherwise.

    What was evaluated before is trained again only if told so; then both runs are kept, and the
    later one counts. A run that diverged has no result. What is promised of the results is said
    with what they will cost.
    """
    wanted = {
        (entry.name, name, seed): (
            entry,
            Wanted(
                RunRequest(
                    benchmark=name,
                    loss=entry.spec,
                    seed=seed,
                    epochs=epochs or bench.executor.benchmark(name).epochs,
                    split="evaluation",
                    subset=subset,
                ),
                entry.trial,
            ),
        )
        for entry in entries
        for name in benchmarks
        for seed in entry.seeds
    }
    requests = [each for _, each in wanted.values()]
    if note := cost(bench, [each.request for each in requests], again=again):
        bench.watcher.note(f"{note}; {promise}" if promise else note)
    runs = complete(bench, requests, "evaluation", again=again)
    results = [
        (entry, runs[each.request]) for entry, each in wanted.values() if each.request in runs
    ]
    with bench.database.transaction() as session:
        for entry, run in results:
            records.add_evaluation(
                session,
                name=entry.name,
                run_id=run.id,
                study_id=bench.study_id,
                trial=entry.trial,
            )
    return results


def cost(bench: Workbench, requests: Iterable[RunRequest], *, again: bool = False) -> str:
    """What is still to be trained and how long that will take here; empty where nothing is."""
    epochs: Counter[str] = Counter()
    runs = 0
    for request in dict.fromkeys(requests):
        if again or bench.stored(request) is None:
            epochs[request.benchmark] += request.epochs
            runs += 1
    if not runs:
        return ""
    device = bench.executor.device
    seconds, unknown = 0.0, []
    with bench.database.transaction() as session:
        for name, count in epochs.items():
            pace = records.seconds_per_epoch(
                session,
                protocol=bench.executor.benchmark(name).digest,
                split="evaluation",
                device=device,
            )
            seconds += count * (pace or 0)
            unknown += [] if pace else [name]
    text = f"to train: {runs} runs, {epochs.total()} epochs"
    if unknown:
        return f"{text}; how long that takes on this {device} is not known yet for " + ", ".join(
            unknown
        )
    return f"{text}, about {duration(seconds)} one after another on this {device}"
