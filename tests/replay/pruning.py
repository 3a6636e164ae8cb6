"""Which pruner needs the fewest epochs at equal regret, replayed from the bank.

    python -m tests.replay.pruning

A study tries losses of the bank in a random order, its trials' seeds one after another: three of
the six recorded ones, drawn anew for every study. Its pick is the complete trial with the best
gain. Every pruner runs as its own class in an Optuna study.

Options are chosen on one half of the losses: the fewest epochs whose pick is worth as much as the
pick without pruning, to ``TOLERANCE``, where a loss is worth its mean accuracy over all six seeds.
The table shows what the other half then says, and the same the other way round. Beside it stands
the worth on the seeds that the study has not seen: there no method can be lucky with what it has
picked by, but chance is larger.
"""

from __future__ import annotations

import argparse
import random
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import optuna
from click import echo
from optuna.trial import TrialState

from losses import LossSpec
from search.objective import Candidate
from studies.gains import Expectation, Pair
from tests.replay import bank
from tests.replay.contenders import EPOCHS, SEEDS, Contender, Told, contenders

TOLERANCE = 0.05
"""Points of accuracy by which a pick may be worth less than that without pruning."""

RECORDED = (*bank.SEEDS, *bank.HELD_OUT)
CHOICE, REPORT = 30, 100
"""Studies of each half on which options are chosen, and which are reported."""


@dataclass(frozen=True)
class Order:
    """A study to be: its losses in turn, and the seeds of its trials."""

    losses: Sequence[LossSpec]
    seeds: Sequence[int]


@dataclass(frozen=True)
class Outcome:
    """What a replayed study came to.

    Attributes:
        epochs: trained, per loss.
        worth: of the pick (%), over all recorded seeds.
        unseen: the same over the seeds that the study did not see.
    """

    epochs: float
    worth: float
    unseen: float


def replay(runs: bank.Bank, order: Order, contender: Contender) -> Outcome:
    """A study that tries these losses in this order."""
    study = optuna.create_study(direction="maximize", study_name="replay")
    pruner = contender.make()
    controls = {
        seed: runs[bank.CROSS_ENTROPY, seed, "search"].accuracy for seed in bank.CONTROL_SEEDS
    }
    pairs: list[Pair] = []
    trained = 0
    complete: dict[LossSpec, float] = {}
    for loss in order.losses:
        candidate = Candidate(
            spec=loss,
            seeds=order.seeds,
            epochs=EPOCHS,
            expectations={bank.BENCHMARK: Expectation.estimate(controls, pairs)},
        )
        study.pruner = pruner(candidate)
        steps = _trial(runs, study, candidate, contender.told)
        trained += steps
        if steps == SEEDS * EPOCHS:
            complete[loss] = candidate.value(steps - 1)
            pairs += [Pair(loss.id, seed, curve) for (seed, _), curve in candidate.curves.items()]
    pick = max(complete, key=complete.__getitem__)
    unseen = [seed for seed in RECORDED if seed not in order.seeds]
    return Outcome(
        epochs=trained / len(order.losses),
        worth=_final(runs, pick, RECORDED),
        unseen=_final(runs, pick, unseen),
    )


def _trial(runs: bank.Bank, study: optuna.Study, candidate: Candidate, told: Told) -> int:
    """The epochs that a trial trains before it is complete or pruned."""
    trial = study.ask()
    step = -1
    for (request,) in candidate.requests():
        for accuracy in runs[request.loss, request.seed, "search"].accuracy:
            step += 1
            candidate.add(request, accuracy)
            report = told(candidate, step)
            if report is None:
                continue
            trial.report(*report)
            if step + 1 < SEEDS * EPOCHS and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                return step + 1
    study.tell(trial, candidate.value(step))
    return step + 1


def _final(runs: bank.Bank, loss: LossSpec, seeds: Iterable[int]) -> float:
    return fmean(runs[loss, seed, "search"].accuracy[-1] for seed in seeds)


def halves(losses: Iterable[LossSpec]) -> tuple[list[LossSpec], list[LossSpec]]:
    """The losses in two halves, by their ids: as good as at random, and always the same."""
    shuffled = sorted(losses, key=lambda loss: loss.id)
    return shuffled[::2], shuffled[1::2]


def orders(losses: Sequence[LossSpec], count: int, seed: int) -> list[Order]:
    """Studies to be: three quarters of the losses and half of the seeds, all at random."""
    draw = random.Random(seed)
    return [
        Order(draw.sample(losses, 3 * len(losses) // 4), sorted(draw.sample(RECORDED, SEEDS)))
        for _ in range(count)
    ]


def choose(runs: bank.Bank, trials: Sequence[Order], among: Sequence[Contender]) -> Contender:
    """The contender with the fewest epochs among those whose picks are worth enough."""
    unpruned = fmean(each.worth for each in unpruned_outcomes(runs, trials))
    results = []
    for contender in among:
        outcomes = [replay(runs, order, contender) for order in trials]
        lost = unpruned - fmean(each.worth for each in outcomes)
        spent = fmean(each.epochs for each in outcomes)
        results.append((lost > TOLERANCE, spent, contender))
        echo(f"{spent:5.1f} epochs, {lost:+.3f} points lost: {contender}", err=True)
    return min(results, key=lambda each: each[:2])[2]


def unpruned_outcomes(runs: bank.Bank, trials: Sequence[Order]) -> list[Outcome]:
    """The same studies without pruning."""
    (none,) = contenders()["none"]
    return [replay(runs, order, none) for order in trials]


def interval(values: Sequence[float]) -> str:
    """The mean, and the 95 % interval of the mean over resampled studies."""
    draw = np.random.default_rng(0)
    means = draw.choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{fmean(values):.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bank", type=Path, default=bank.FILE)
    parser.add_argument("--choice", type=int, default=CHOICE)
    parser.add_argument("--report", type=int, default=REPORT)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    runs = bank.load(options.bank)
    parts = halves(bank.candidates(runs))
    reported = [orders(part, options.report, seed=2) for part in parts]
    unpruned = [unpruned_outcomes(runs, trials) for trials in reported]
    echo(
        f"{sum(map(len, parts))} losses, {sum(map(len, reported))} studies; mean and 95 % interval"
        " over resampled studies\n\n"
        "| pruner | epochs a loss | points lost by the pick | on unseen seeds | options |\n"
        "| --- | ---: | ---: | ---: | --- |"
    )
    for name, among in contenders().items():
        chosen = [choose(runs, orders(part, options.choice, seed=1), among) for part in parts]
        pairs = [
            (without, replay(runs, order, contender))
            for contender, trials, base in zip(chosen[::-1], reported, unpruned, strict=True)
            for order, without in zip(trials, base, strict=True)
        ]
        cells = [
            name,
            interval([each.epochs for _, each in pairs]),
            interval([without.worth - each.worth for without, each in pairs]),
            interval([without.unseen - each.unseen for without, each in pairs]),
            "; ".join(dict.fromkeys(map(str, chosen))),
        ]
        echo(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
