"""Evaluations side by side: means, spreads, gains over cross-entropy, and what they show.

Only runs of the same protocol, epochs and device are compared. A gain needs at least
``LEAST_CONTROLS`` evaluations of cross-entropy there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from losses import AnyLoss, load
from studies.claims import LEAST_CONTROLS, Claim, verdict
from studies.gains import Gain, mean_gain
from studies.standings import CROSS_ENTROPY
from studies.statistics import SHARE, Noise, compare, holm
from studies.tables import Evaluation

CAUTION = (
    "Only the ladder's winner against cross-entropy was named before the test split was opened "
    "(primary: p is one-sided). All else is secondary: p is two-sided and Holm-adjusted for there "
    "being several, the intervals are not."
)

SECONDARY_LEVEL = 0.05
"""Two-sided level of all secondary gains together."""

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
        noise: of all runs that the gain was estimated with; None where there is no gain.
        primary: whether this row is the study's one primary claim.
        adjusted: Holm's two-sided p value of a secondary gain.
    """

    names: tuple[str, ...]
    trial: int | None
    spec: AnyLoss
    benchmark: str
    protocol: str
    epochs: int
    device: str
    best: Mapping[int, float]
    final: Mapping[int, float]
    gain: Gain | None = None
    noise: Noise | None = None
    primary: bool = False
    adjusted: float | None = None

    @property
    def label(self) -> str:
        """The names, a published one first."""
        return ", ".join(sorted(self.names, key=lambda name: name.startswith("trial ")))

    @property
    def p_words(self) -> str:
        """The p value that counts for the row, as text; empty where there is none."""
        if self.primary and self.gain is not None:
            return f"primary {self.gain.p_value:.3f}"
        return "" if self.adjusted is None else f"{self.adjusted:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Every number of the row, ready for JSON."""
        noise = self.noise
        return {
            "loss": self.label,
            "trial": self.trial,
            "spec": self.spec.to_dict(),
            "benchmark": self.benchmark,
            "protocol": self.protocol,
            "epochs": self.epochs,
            "device": self.device,
            "seeds": list(self.final),
            "best_accuracy": list(self.best.values()),
            "final_accuracy": list(self.final.values()),
            "best": _summary(self.best),
            "final": _summary(self.final),
            "pooled_deviation": noise and noise.own**0.5 if noise and noise.own_freedom else None,
            "pooled_degrees_of_freedom": noise and noise.own_freedom,
            "gain": self.gain and self.gain.to_dict(),
            "primary": self.primary,
            "p_adjusted": self.adjusted,
        }


def leaderboard(evaluations: Sequence[Evaluation], claim: Claim | None = None) -> list[Row]:
    """One row for each loss and benchmark, the most accurate first within a benchmark.

    Args:
        evaluations: those of a study.
        claim: the study's; every other gain is secondary.
    """
    rows: list[Row] = []
    for group in _comparable(evaluations):
        by_loss: dict[str, list[Evaluation]] = defaultdict(list)
        for each in group:
            by_loss[each.run.loss_id].append(each)
        alone = [_row(entries) for entries in by_loss.values()]
        rows += sorted(_with_gains(alone), key=lambda row: -fmean(row.final.values()))
    if claim is not None:
        rows = [_judged(row, evaluations, claim) for row in rows]
    secondary = [row.gain.p_two_sided for row in rows if row.gain and not row.primary]
    adjusted = iter(holm(secondary))
    return [
        replace(row, adjusted=next(adjusted)) if row.gain and not row.primary else row
        for row in rows
    ]


def gains_by_run(evaluations: Sequence[Evaluation]) -> dict[int, float]:
    """The gain (points, final epoch) of every run whose controls suffice, by the run's id.

    Their mean over the seeds of a loss is the loss's gain.
    """
    gains = {}
    for group in _comparable(evaluations):
        runs = [each.run for each in group]
        controls = {r.seed: r.final_accuracy for r in runs if r.loss_id == CROSS_ENTROPY.id}
        if len(controls) < LEAST_CONTROLS:
            continue
        mean = fmean(controls.values())
        for run in runs:
            if run.loss_id != CROSS_ENTROPY.id:
                expected = mean + SHARE * (controls.get(run.seed, mean) - mean)
                gains[run.id] = round(run.final_accuracy - expected, 4)
    return gains


def mean_gains(rows: Sequence[Row], benchmarks: Sequence[str]) -> dict[str, Gain]:
    """Mean gains over benchmarks by loss id, of the losses that were evaluated on all of them."""
    by_loss: dict[str, dict[str, Gain]] = defaultdict(dict)
    for row in rows:
        if row.gain is not None and row.benchmark in benchmarks:
            by_loss[row.spec.id][row.benchmark] = row.gain
    return {
        loss: mean_gain(list(gains.values()))
        for loss, gains in by_loss.items()
        if len(gains) == len(benchmarks)
    }


def secondary_findings(rows: Sequence[Row]) -> list[str]:
    """What is shown beside the primary claim, in words, at 5 % over all of it together."""
    return [
        f"secondary, Holm-adjusted p = {row.adjusted:.3f}: {row.label} on {row.benchmark}, "
        f"{row.gain.words}"
        for row in rows
        if row.gain is not None and row.adjusted is not None and row.adjusted <= SECONDARY_LEVEL
    ]


def _comparable(evaluations: Sequence[Evaluation]) -> Iterable[list[Evaluation]]:
    groups: dict[Fidelity, list[Evaluation]] = defaultdict(list)
    for each in evaluations:
        run = each.run
        if run.subset is not None:
            continue  # a dry run says nothing of a loss
        groups[run.benchmark, run.protocol, run.epochs, run.device].append(each)
    return groups.values()


def _row(entries: Sequence[Evaluation]) -> Row:
    runs = {each.run.seed: each.run for each in entries}
    first = entries[0].run
    return Row(
        names=tuple(dict.fromkeys(each.name for each in entries)),
        trial=next((each.trial for each in entries if each.trial is not None), None),
        spec=load(first.spec),
        benchmark=first.benchmark,
        protocol=first.protocol,
        epochs=first.epochs,
        device=first.device,
        best={seed: run.best_accuracy for seed, run in runs.items()},
        final={seed: run.final_accuracy for seed, run in runs.items()},
    )


def _with_gains(rows: Sequence[Row]) -> list[Row]:
    """The rows of one fidelity, compared with cross-entropy there."""
    controls = next((row.final for row in rows if row.spec == CROSS_ENTROPY), {})
    if len(controls) < LEAST_CONTROLS:
        return list(rows)
    noise = Noise.pooled({row.spec.id: row.final for row in rows}, controls)
    return [
        row
        if row.spec == CROSS_ENTROPY
        else replace(row, gain=compare(row.final, controls, noise), noise=noise)
        for row in rows
    ]


def _judged(row: Row, evaluations: Sequence[Evaluation], claim: Claim) -> Row:
    """The row, with the claim's own numbers if it is what was claimed."""
    mine = (row.spec.id, set(row.final), {row.benchmark: row.epochs})
    if row.gain is None or mine != (claim.loss, set(claim.seeds), dict(claim.epochs)):
        return row
    if claim.device not in (None, row.device):
        return row
    if claim.protocols not in (None, {row.benchmark: row.protocol}):
        return row
    found = verdict(evaluations, claim)
    return row if found is None else replace(row, gain=found.gain, primary=True)


def _summary(values: Mapping[int, float]) -> dict[str, float | int | None]:
    deviation = stdev(values.values()) if len(values) > 1 else None
    return {"n": len(values), "mean": fmean(values.values()), "deviation": deviation}


def mean_and_deviation(values: Mapping[int, float]) -> str:
    """Mean and sample standard deviation over seeds, as text; the mean alone for one seed."""
    mean = f"{fmean(values.values()):.2f}"
    return f"{mean} ({stdev(values.values()):.2f})" if len(values) > 1 else mean
