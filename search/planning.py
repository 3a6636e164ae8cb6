"""The primary claim as it is planned: on which runs it will stand, and what they could show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import stdev

from search.evaluation import Entry
from search.runs import Workbench
from studies import records
from studies.claims import LEAST_CONTROLS, Claim
from studies.definition import EVALUATION_SEEDS, StudyDefinition
from studies.gains import mean_gain
from studies.standings import CROSS_ENTROPY, Finished, Ladder
from studies.statistics import planned

FEWEST_SEEDS = 3
"""Fewer are never planned: the noise of two runs says next to nothing."""

Entries = Callable[[Sequence[int]], Sequence[Entry]]
"""What will be evaluated with so many seeds, cross-entropy first."""


def plan(
    bench: Workbench,
    ladder: Ladder,
    pick: Finished,
    entries: Entries,
    *,
    seeds: Sequence[int] | None,
    epochs: int | None,
) -> Claim:
    """Plan the claim for a pick.

    Args:
        bench: where the evaluations will run.
        ladder: the study's, whose controls say how much runs vary.
        pick: the loss that is claimed to be better than cross-entropy.
        entries: what will be evaluated.
        seeds: of the pick; None for as many as find the gain that the definition asks for, or
            for all evaluation seeds where those do not suffice.
        epochs: None for the benchmarks' own.
    """
    definition = ladder.definition
    names = definition.search.benchmarks
    protocols = {name: bench.executor.benchmark(name) for name in names}
    lengths = {name: epochs or each.epochs for name, each in protocols.items()}
    noises = _noises(bench, ladder, lengths)
    is_planned = seeds is None

    def claim(seeds: Sequence[int]) -> Claim:
        entered = entries(seeds)
        controls, losses = entered[0].seeds, list(dict.fromkeys(each.spec.id for each in entered))
        worth = [
            planned(*noise, seeds=len(seeds), controls=len(controls), losses=len(losses))
            for noise in noises
        ]
        return Claim(
            trial=pick.number,
            loss=pick.spec.id,
            seeds=list(seeds),
            epochs=lengths,
            controls=list(controls),
            protocols={name: each.digest for name, each in protocols.items()},
            device=bench.executor.device,
            losses=losses,
            detectable=mean_gain(worth).smallest_found() if worth else None,
            wanted=definition.promotion.detect if is_planned else None,
        )

    if seeds is not None:
        return claim(seeds)
    more_and_more = (
        claim(EVALUATION_SEEDS[:count]) for count in range(FEWEST_SEEDS, len(EVALUATION_SEEDS) + 1)
    )
    return next((each for each in more_and_more if each.suffices), claim(EVALUATION_SEEDS))


def state(bench: Workbench, definition: StudyDefinition, claim: Claim) -> None:
    """Fix the one primary claim before the test split is opened; a stated one stays as it is."""
    with bench.database.transaction() as session:
        study = records.find_study(session, definition.name)
        if study is not None and study.primary_claim is None:
            study.primary_claim = claim.to_dict()


def stated(bench: Workbench, definition: StudyDefinition) -> Claim | None:
    """The study's primary claim, if it has one."""
    with bench.database.transaction() as session:
        study = records.find_study(session, definition.name)
        stored = study.primary_claim if study is not None else None
    return Claim.from_dict(stored) if stored else None


def _noises(
    bench: Workbench, ladder: Ladder, lengths: Mapping[str, int]
) -> list[tuple[float, float]]:
    """The spread of runs (points) and the share of the seed in it, benchmark by benchmark.

    The spread is that of cross-entropy's evaluations where there are enough, else, like the
    share, that of the last rung.
    """
    expectations = ladder.expectations(ladder.definition.rungs[-1].epochs)
    with bench.database.transaction() as session:
        runs = [each.run for each in records.evaluations(session)]
    noises = []
    for name, expectation in expectations.items():
        key = (bench.executor.benchmark(name).digest, lengths[name], bench.executor.device, None)
        finals = {
            run.seed: run.final_accuracy
            for run in runs
            if run.loss_id == CROSS_ENTROPY.id
            and (run.protocol, run.epochs, run.device, run.subset) == key
        }
        spread = float(expectation.spread_E[-1])
        if len(finals) >= LEAST_CONTROLS:
            spread = stdev(finals.values())
        noises.append((spread, float(expectation.rho_E[-1])))
    return noises
