"""The gain of a loss over plain cross-entropy, paired by seed, with its standard error.

Runs that share a seed share their initial weights, their data order and their validation images,
so a part of their noise is the same. How large a part (rho, the regression of runs on the
same-seed controls) differs by fidelity and is estimated from what was run; a plain difference
(rho = 1) would add noise wherever little is shared.

Shapes: C controls, E epochs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Curve = NDArray[np.float64]

PRIOR_RHO = 0.5
"""Where the estimate of rho starts: the middle of what was measured (0.2 to 0.9)."""

PRIOR_PAIRS = 8
"""How many pairs of runs the start is worth: with a few pairs, an estimate of rho is all noise."""


class Pair(NamedTuple):
    """A run of another loss, for the regression on its same-seed control."""

    loss_id: str
    seed: int
    accuracy_E: Sequence[float]


@dataclass(frozen=True)
class Gain:
    """A gain in percentage points, with its standard error and that error's degrees of freedom."""

    mean: float
    standard_error: float
    freedom: float

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The two-sided confidence interval (Student's t)."""
        half = float(stdtrit(self.freedom, (1 + confidence) / 2)) * self.standard_error
        return self.mean - half, self.mean + half

    def smallest_found(self, power: float = 0.8, level: float = 0.025) -> float:
        """The smallest true gain that a one-sided test at ``level`` would find with ``power``."""
        quantiles = stdtrit(self.freedom, 1 - level) + stdtrit(self.freedom, power)
        return float(quantiles) * self.standard_error

    @property
    def p_value(self) -> float:
        """One-sided: how often cross-entropy itself would look this good or better."""
        if self.standard_error == 0:
            return float(self.mean <= 0)
        return float(stdtr(self.freedom, -self.mean / self.standard_error))

    @property
    def p_two_sided(self) -> float:
        """How often cross-entropy itself would look this different, in either direction."""
        if self.standard_error == 0:
            return float(self.mean == 0)
        return 2 * float(stdtr(self.freedom, -abs(self.mean) / self.standard_error))

    @property
    def words(self) -> str:
        """The gain and its interval."""
        low, high = self.interval()
        return f"{self.mean:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}"

    def to_dict(self) -> dict[str, Any]:
        """Every number, ready for JSON."""
        return {
            "mean": self.mean,
            "standard_error": self.standard_error,
            "degrees_of_freedom": self.freedom,
            "interval_95": list(self.interval()),
            "p_one_sided": self.p_value,
            "p_two_sided": self.p_two_sided,
            "smallest_found": self.smallest_found(),
        }


@dataclass(frozen=True, eq=False)
class Expectation:
    """What plain cross-entropy gives, seed by seed, at every epoch of one fidelity.

    Attributes:
        controls: accuracy curve (%) of each control, by seed.
        rho_E: how much runs share with their same-seed control, in [0, 1].
        residual_E: standard deviation (points) of a run about its expectation.
        freedom: degrees of freedom behind ``residual_E``.
    """

    controls: Mapping[int, Curve]
    rho_E: Curve
    residual_E: Curve
    freedom: int

    @classmethod
    def estimate(
        cls, controls: Mapping[int, Sequence[float]], pairs: Iterable[Pair] = ()
    ) -> Expectation:
        """Estimate from at least two controls and any number of other losses' runs.

        Runs count from two seeds of a loss on: what they share with the controls shows in how
        they move together from seed to seed, not in their level.
        """
        curves = {seed: np.asarray(curve, dtype=float) for seed, curve in controls.items()}
        if len(curves) < 2:
            raise ValueError(f"controls must be at least two runs but got {len(curves)}")
        variance_E = np.var(list(curves.values()), axis=0, ddof=1)
        prior_E = PRIOR_PAIRS * np.maximum(variance_E, 1e-12)
        moved_with_E, moved_E = PRIOR_RHO * prior_E, prior_E.copy()
        centred = list(_centred(curves, pairs))
        for control_NE, run_NE in centred:
            moved_with_E += (control_NE * run_NE).sum(axis=0)
            moved_E += (control_NE**2).sum(axis=0)
        rho_E = np.clip(moved_with_E / moved_E, 0, 1)

        freedom = len(curves) - 1
        squares_E = freedom * variance_E * (1 - rho_E**2)
        for control_NE, run_NE in centred:
            squares_E += ((run_NE - rho_E * control_NE) ** 2).sum(axis=0)
            freedom += len(run_NE) - 1
        return cls(curves, rho_E, np.sqrt(squares_E / freedom), freedom)

    def gains(self, seed: int, accuracy: Sequence[float]) -> Curve:
        """A run's gain (points) after each of its epochs so far."""
        accuracy_E = np.asarray(accuracy, dtype=float)
        epochs = len(accuracy_E)
        mean_E = self._mean_E[:epochs]
        if seed in self.controls:
            same_seed_E = self.controls[seed][:epochs]
            mean_E = mean_E + self.rho_E[:epochs] * (same_seed_E - mean_E)
        return accuracy_E - mean_E

    def gain(self, runs: Mapping[int, Sequence[float]]) -> Gain:
        """The gain of a loss at the final epoch, from its complete runs by seed."""
        gains = [self.gains(seed, accuracy)[-1] for seed, accuracy in runs.items()]
        rho = self.rho_E[-1] if all(seed in self.controls for seed in runs) else 0.0
        spread = self.spread_E[-1]
        run = self.residual_E[-1] if rho else spread
        variance = run**2 / len(runs) + ((1 - rho) * spread) ** 2 / len(self.controls)
        # Unpaired, the controls' spread is all that the error rests on.
        freedom = self.freedom if rho else len(self.controls) - 1
        return Gain(float(np.mean(gains)), float(np.sqrt(variance)), freedom)

    def noise(self, seeds: int, epoch: int) -> float:
        """Standard deviation (points) of the mean gain with which a pruner has to reckon.

        Args:
            seeds: how many seeds have ended.
            epoch: the last epoch of the seed now running.
        """
        ended = seeds * self.residual_E[-1] ** 2
        return float(np.sqrt(ended + self.residual_E[epoch] ** 2) / (seeds + 1))

    @cached_property
    def _mean_E(self) -> Curve:
        return np.asarray(np.mean(list(self.controls.values()), axis=0))

    @property
    def spread_E(self) -> Curve:
        """Standard deviation (points) of the controls."""
        return np.asarray(np.std(list(self.controls.values()), axis=0, ddof=1))


def mean_gain(gains: Sequence[Gain]) -> Gain:
    """The mean over benchmarks, whose noise is independent (Welch's degrees of freedom)."""
    variances = np.array([(each.standard_error / len(gains)) ** 2 for each in gains])
    weights = sum(v**2 / each.freedom for v, each in zip(variances, gains, strict=True))
    freedom = float(variances.sum() ** 2 / weights) if weights else gains[0].freedom
    mean = float(np.mean([each.mean for each in gains]))
    return Gain(mean, float(np.sqrt(variances.sum())), freedom)


def _centred(
    controls: Mapping[int, Curve], pairs: Iterable[Pair]
) -> Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """For each loss, its runs and their controls about their means: both [seeds, E]."""
    by_loss: dict[str, dict[int, Sequence[float]]] = defaultdict(dict)
    for loss_id, seed, accuracy_E in pairs:
        if seed in controls:
            by_loss[loss_id][seed] = accuracy_E
    for runs in by_loss.values():
        if len(runs) > 1:
            control_NE = np.array([controls[seed] for seed in runs])
            run_NE = np.array(list(runs.values()), dtype=float)
            yield control_NE - control_NE.mean(axis=0), run_NE - run_NE.mean(axis=0)
