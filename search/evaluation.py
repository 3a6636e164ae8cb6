"""Evaluations: losses on the sealed test split, each run stored and every opening recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from losses import AnyLoss, published
from search.executors import RunRequest
from search.runs import Wanted, Workbench, complete
from search.terminal import duration
from studies import records
from studies.definition import EVALUATION_SEEDS, StudyDefinition
from studies.standings import CROSS_ENTROPY, Finished
from studies.tables import Run


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A loss to evaluate: under which name, on which seeds, and from which trial if any."""

    name: str
    spec: AnyLoss
    seeds: Sequence[int]
    trial: int | None = None


def evaluate(
    bench: Workbench,
    entries: Iterable[Entry],
    benchmarks: Sequence[str],
    epochs: int | None,
    *,
    subset: int | None = None,
    again: bool = False,
) -> list[tuple[Entry, Run]]:
    """Evaluate losses on benchmarks, by the benchmarks' own epochs unless told otherwise.

    What was evaluated before is trained again only if told so; then both runs are kept, and the
    later one counts. A run that diverged has no result.
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
        bench.watcher.note(note)
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


def promotion_entries(
    definition: StudyDefinition, picks: Sequence[Finished], seeds: Sequence[int] | None = None
) -> list[Entry]:
    """The losses of a promotion: cross-entropy on more seeds, the baselines, and the picks."""
    seeds = seeds or definition.promotion.seeds
    return [
        Entry(
            name="cross_entropy",
            spec=CROSS_ENTROPY,
            seeds=control_seeds(seeds, definition.promotion.controls),
        ),
        *(
            Entry(name=name, spec=published()[name], seeds=seeds)
            for name in definition.promotion.against
            if name != "cross_entropy"
        ),
        *(
            Entry(name=f"trial {pick.number}", spec=pick.spec, seeds=seeds, trial=pick.number)
            for pick in picks
        ),
    ]


def control_seeds(seeds: Sequence[int], count: int) -> list[int]:
    """The seeds of an evaluation's controls: its own, and further evaluation seeds up to count."""
    more = [seed for seed in EVALUATION_SEEDS if seed not in seeds]
    return [*seeds, *more[: max(0, count - len(seeds))]]


def state_claim(
    bench: Workbench,
    definition: StudyDefinition,
    pick: Finished,
    seeds: Sequence[int],
    epochs: int | None,
) -> None:
    """Fix the one primary claim before the test split is opened; a stated one stays as it is."""
    names = definition.search.benchmarks
    with bench.database.transaction() as session:
        study = records.find_study(session, definition.name)
        if study is not None and study.primary_claim is None:
            study.primary_claim = {
                "trial": pick.number,
                "loss": pick.spec.id,
                "against": "cross_entropy",
                "seeds": list(seeds),
                "epochs": {
                    name: epochs or bench.executor.benchmark(name).epochs for name in names
                },
                "test": "one-sided, 2.5 %, mean over the search's benchmarks",
            }
