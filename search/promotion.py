"""Promotion: the ladder's best on the test split, beside cross-entropy and other controls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import optuna

from losses import published
from search.evaluation import Entry, evaluate
from search.ladder import load
from search.planning import plan, state, stated
from search.queueing import Queued
from search.runs import Workbench
from studies.definition import EVALUATION_SEEDS, StudyDefinition
from studies.errors import StudyError
from studies.scales import gradient_scale, scaled
from studies.standings import CROSS_ENTROPY, Finished, Ladder


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What a promotion is asked for beyond its definition; None leaves it to the definition.

    Attributes:
        trials: picks by number, in the place of the ladder's best ``top``.
    """

    top: int | None = None
    trials: Sequence[int] = ()
    epochs: int | None = None
    seeds: Sequence[int] | None = None
    benchmarks: Sequence[str] | None = None


def promote(
    bench: Workbench,
    definition: StudyDefinition,
    study: optuna.Study,
    wanted: Promotion,
    rivals: Sequence[Queued] = (),
) -> None:
    """Evaluate picks beside cross-entropy, the baselines and other rivals, on the test split.

    Then cross-entropy of the first pick's gradient scale, which only its runs can tell.
    """
    ladder = load(bench, definition, study)
    picks = _picks(ladder, definition, wanted)
    rules = definition.promotion
    entries = partial(promotion_entries, definition, picks, rivals)
    seeds = wanted.seeds
    if seeds is None and rules.detect is None:
        seeds = rules.seeds
    elif seeds is None and (earlier := stated(bench, definition)):
        seeds = earlier.seeds  # what was planned stays, whatever the evaluations have shown since
    epochs = wanted.epochs or rules.epochs
    claim = plan(bench, ladder, picks[0], entries, seeds=seeds, epochs=epochs)
    state(bench, definition, claim)
    benchmarks = wanted.benchmarks or definition.evaluated_on
    found = evaluate(bench, entries(claim.seeds), benchmarks, epochs, promise=claim.promise)
    if rules.scale_matched:
        mine = [run for entry, run in found if entry.trial == picks[0].number]
        for name in benchmarks:
            scale = gradient_scale([run for run in mine if run.benchmark == name])
            evaluate(bench, scale_entries([scale], claim.seeds), [name], epochs)


def scale_entries(scales: Iterable[float | None], seeds: Sequence[int]) -> list[Entry]:
    """Cross-entropy times factors, where those are known and change it."""
    return [
        Entry(name=f"cross_entropy x{scale:g}", spec=scaled(scale), seeds=seeds)
        for scale in scales
        if scale and scaled(scale) != CROSS_ENTROPY
    ]


def promotion_entries(
    definition: StudyDefinition,
    picks: Sequence[Finished],
    rivals: Sequence[Queued],
    seeds: Sequence[int],
) -> list[Entry]:
    """What a promotion evaluates: cross-entropy on more seeds, its rivals, and the picks."""
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
        *scale_entries(definition.promotion.scales, seeds),
        *(Entry(name=each.name, spec=each.spec, seeds=seeds) for each in rivals),
        *(
            Entry(name=f"trial {pick.number}", spec=pick.spec, seeds=seeds, trial=pick.number)
            for pick in picks
        ),
    ]


def control_seeds(seeds: Sequence[int], count: int) -> list[int]:
    """The seeds of an evaluation's controls: its own, and further evaluation seeds up to count."""
    more = [seed for seed in EVALUATION_SEEDS if seed not in seeds]
    return [*seeds, *more[: max(0, count - len(seeds))]]


def _picks(ladder: Ladder, definition: StudyDefinition, wanted: Promotion) -> list[Finished]:
    picks = ladder.picks()[: wanted.top or definition.promotion.top]
    if wanted.trials:
        finished = {each.number: each for each in ladder.finished}
        for number in wanted.trials:
            if number not in finished:
                raise StudyError(f"--trial must have a result but trial {number} has none")
        picks = [finished[number] for number in wanted.trials]
    if not picks:
        raise StudyError(f"study {definition.name!r} has no loss to promote yet")
    return picks
