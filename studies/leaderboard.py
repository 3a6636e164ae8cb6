"""Evaluations side by side: means, spreads, gains over cross-entropy, and what they show.

Only runs of the same protocol, epochs and device are compared. A gain needs at least
``LEAST_CONTROLS`` evaluations of cross-entropy there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from losses import AnyLoss, load
from studies.gains import Expectation, Gain, Pair, mean_gain
from studies.standings import CROSS_ENTROPY
from studies.tables import Evaluation, Run

LEAST_CONTROLS = 8
LEVEL = 0.025
"""One-sided level of the primary claim."""

CAUTION = (
    "Only the ladder's winner against cross-entropy was named before the test split was opened; "
    "the other intervals are not adjusted for there being several."
)

Fidelity = tuple[str, str, int, str]
"""Benchmark, digest of its protocol, epochs, device."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One loss on one benchmark, over its seeds.

    Attributes:
        names: how the loss was asked for: a published name, or a trial of the study.
        best, final: test accuracy (%) by seed: highest over the epochs, and after the last.
        gain: over cross-entropy at the final epoch; None for cross-entropy itself, and where it
            was evaluated on too few seeds.
    """

    names: tuple[str, ...]
    trial: int | None
    spec: AnyLoss
    benchmark: str
    epochs: int
    device: str
    best: Mapping[int, float]
    final: Mapping[int, float]
    gain: Gain | None

    @property
    def label(self) -> str:
        """The names, a published one first."""
        return ", ".join(sorted(self.names, key=lambda name: name.startswith("trial ")))

    def to_dict(self) -> dict[str, Any]:
        """Every number of the row, ready for JSON."""
        gain = self.gain and {
            "mean": self.gain.mean,
            "standard_error": self.gain.standard_error,
            "degrees_of_freedom": self.gain.freedom,
            "interval_95": self.gain.interval(),
            "p_one_sided": self.gain.p_value,
        }
        return {
            "loss": self.label,
            "trial": self.trial,
            "spec": self.spec.to_dict(),
            "benchmark": self.benchmark,
            "epochs": self.epochs,
            "device": self.device,
            "seeds": list(self.final),
            "best_accuracy": list(self.best.values()),
            "final_accuracy": list(self.final.values()),
            "gain": gain,
        }


@dataclass(frozen=True)
class Verdict:
    """What an evaluation shows of the primary claim, in numbers and in words."""

    gain: Gain
    shown: bool
    words: str


def leaderboard(evaluations: Sequence[Evaluation]) -> list[Row]:
    """One row for each loss and benchmark, the most accurate first within a benchmark."""
    rows = []
    for group in _comparable(evaluations):
        expectation = _expectation([each.run for each in group])
        losses: dict[str, list[Evaluation]] = defaultdict(list)
        for each in group:
            losses[each.run.loss_id].append(each)
        rows += sorted(
            (_row(entries, expectation) for entries in losses.values()),
            key=lambda row: -fmean(row.final.values()),
        )
    return rows


def gains_by_run(evaluations: Sequence[Evaluation]) -> dict[int, float]:
    """The gain (points, final epoch) of every run whose controls suffice, by the run's id."""
    gains = {}
    for group in _comparable(evaluations):
        expectation = _expectation([each.run for each in group])
        for run in (each.run for each in group):
            if expectation is not None and run.loss_id != CROSS_ENTROPY.id:
                gain = expectation.gains(run.seed, run.curves["accuracy"])[-1]
                gains[run.id] = round(float(gain), 4)
    return gains


def verdict(evaluations: Sequence[Evaluation], claim: Mapping[str, Any]) -> Verdict | None:
    """Whether the primary claim is shown; None while evaluations or controls are missing.

    The claim stands on the seeds that it names: whoever adds seeds until it holds shows nothing.
    """
    claimed = [
        each
        for each in evaluations
        if each.run.loss_id != claim["loss"] or each.run.seed in claim["seeds"]
    ]
    gains = {
        row.benchmark: row.gain
        for row in leaderboard(claimed)
        if row.spec.id == claim["loss"]
        and row.epochs == claim["epochs"].get(row.benchmark)
        and row.gain is not None
        and set(claim["seeds"]) <= set(row.final)
    }
    if any(name not in gains for name in claim["epochs"]):
        return None
    gain = mean_gain(list(gains.values()))
    low, high = gain.interval()
    numbers = (
        f"{gain.mean:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}, "
        f"{len(claim['seeds'])} seeds"
    )
    shown = gain.mean > 0 and gain.p_value <= LEVEL
    if shown:
        return Verdict(gain, shown, f"better than cross-entropy: {numbers}")
    words = (
        f"not shown to differ from cross-entropy: {numbers}; "
        f"so few seeds find a gain of {gain.smallest_found():.2f} points or more "
        "in four cases of five"
    )
    return Verdict(gain, shown, words)


def _comparable(evaluations: Sequence[Evaluation]) -> Iterable[list[Evaluation]]:
    groups: dict[Fidelity, list[Evaluation]] = defaultdict(list)
    for each in evaluations:
        run = each.run
        if run.subset is not None:
            continue  # a dry run says nothing of a loss
        groups[run.benchmark, run.protocol, run.epochs, run.device].append(each)
    return groups.values()


def _expectation(runs: Sequence[Run]) -> Expectation | None:
    curves = {run.seed: run.curves["accuracy"] for run in runs if run.loss_id == CROSS_ENTROPY.id}
    if len(curves) < LEAST_CONTROLS:
        return None
    others = (run for run in runs if run.loss_id != CROSS_ENTROPY.id)
    return Expectation.estimate(
        curves, [Pair(run.loss_id, run.seed, run.curves["accuracy"]) for run in others]
    )


def _row(entries: Sequence[Evaluation], expectation: Expectation | None) -> Row:
    runs = {each.run.seed: each.run for each in entries}
    first = entries[0].run
    spec = load(first.spec)
    gain = None
    if expectation is not None and spec != CROSS_ENTROPY:
        gain = expectation.gain({seed: run.curves["accuracy"] for seed, run in runs.items()})
    return Row(
        names=tuple(dict.fromkeys(each.name for each in entries)),
        trial=next((each.trial for each in entries if each.trial is not None), None),
        spec=spec,
        benchmark=first.benchmark,
        epochs=first.epochs,
        device=first.device,
        best={seed: run.best_accuracy for seed, run in runs.items()},
        final={seed: run.final_accuracy for seed, run in runs.items()},
        gain=gain,
    )


def mean_and_deviation(values: Mapping[int, float]) -> str:
    """Mean and sample standard deviation over seeds, as text; the mean alone for one seed."""
    mean = f"{fmean(values.values()):.2f}"
    return f"{mean} ({stdev(values.values()):.2f})" if len(values) > 1 else mean
