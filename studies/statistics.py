"""What evaluations show: gains whose intervals hold however much runs of one seed share.

The model is additive: accuracy = loss + seed + rest. The gain of a loss is its generalised least
squares estimate, seeds being random. Its weights need the share of a run's variance that belongs
to the seed; they take `SHARE`, fixed beforehand: another true share costs width, never coverage.
The variances that the standard error needs are estimated, with their degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studies.gains import Gain

SHARE = 0.5
"""The share of a run's variance that belongs to its seed, as the weights assume: the middle of
what was measured (0.2 to 0.9)."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The variances (points squared) of runs of one benchmark, protocol, length and device.

    Attributes:
        own: of a run about what its loss and its seed make one expect.
        own_freedom: degrees of freedom behind it; 0 where nothing could be told apart.
        whole: of a run about what its loss alone makes one expect.
        whole_freedom: degrees of freedom behind it.
    """

    own: float
    own_freedom: int
    whole: float
    whole_freedom: int

    @classmethod
    def pooled(
        cls, finals: Mapping[str, Mapping[int, float]], controls: Mapping[int, float]
    ) -> Noise:
        """Estimate from the accuracies of all losses, by loss and seed, and at least two controls.

        ``own`` is the residual variance of the additive model over every loss, ``whole`` the
        controls' sample variance.
        """
        cells = [(loss, seed, y) for loss, runs in finals.items() for seed, y in runs.items()]
        losses, seeds, accuracy_N = zip(*cells, strict=True)
        design = np.hstack([_indicators(losses), _indicators(seeds)])
        fitted, _, rank, _ = np.linalg.lstsq(design, np.array(accuracy_N), rcond=None)
        freedom = len(cells) - int(rank)
        squares = float(((accuracy_N - design @ fitted) ** 2).sum())
        return cls(
            own=squares / freedom if freedom else 0.0,
            own_freedom=freedom,
            whole=float(np.var(list(controls.values()), ddof=1)),
            whole_freedom=len(controls) - 1,
        )


def compare(runs: Mapping[int, float], controls: Mapping[int, float], noise: Noise) -> Gain:
    """The gain of a loss over another, from the accuracies (%) of both by seed.

    The degrees of freedom are the smaller of what the estimated variances say and of what the
    assumed share says. With few, Satterthwaite's alone are too many where one variance has come
    out small by chance.

    References:
        Satterthwaite, 1946. An approximate distribution of estimates of variance components.
    """
    weights_N, seeds_N = _weights(list(runs), list(controls))
    mean = float(weights_N @ np.array([*runs.values(), *controls.values()]))
    total = float((weights_N**2).sum())
    of_whole = float(sum(weights_N[seeds_N == seed].sum() ** 2 for seed in set(seeds_N.tolist())))
    of_own = max(total - of_whole, 0.0)
    if not noise.own_freedom:  # a run's own noise is at most all of it
        return Gain(mean, (total * noise.whole) ** 0.5, noise.whole_freedom)
    estimated = (of_own * noise.own, of_whole * noise.whole)
    assumed = (of_own * (1 - SHARE), of_whole)
    freedom = min(
        _satterthwaite(parts, (noise.own_freedom, noise.whole_freedom))
        for parts in (estimated, assumed)
        if any(parts)
    )
    return Gain(mean, sum(estimated) ** 0.5, freedom)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for there being several, in the order given.

    References:
        Holm, 1979. A simple sequentially rejective multiple test procedure.
    """
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(least, 1.0)
    return adjusted


def planned(spread: float, rho: float, *, seeds: int, controls: int, losses: int) -> Gain:
    """What a comparison will be worth: a gain of zero, with the error that it will have.

    Args:
        spread: standard deviation (points) of a run over seeds.
        rho: the share of its variance that belongs to the seed.
        seeds: how many of them every loss will be evaluated on.
        controls: how many cross-entropy will be evaluated on, those among them.
        losses: how many will be evaluated, cross-entropy among them.
    """
    noise = Noise(
        own=(1 - rho) * spread**2,
        own_freedom=(losses - 1) * (seeds - 1),
        whole=spread**2,
        whole_freedom=controls - 1,
    )
    return compare(dict.fromkeys(range(seeds), 0.0), dict.fromkeys(range(controls), 0.0), noise)


def _weights(
    seeds: Sequence[int], control_seeds: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The weight of each run in the gain, the loss's own first, and the runs' seeds."""
    seeds_N = np.array([*seeds, *control_seeds])
    covariance_NN = np.where(seeds_N[:, None] == seeds_N, SHARE, 0.0)
    np.fill_diagonal(covariance_NN, 1.0)
    is_loss_N = np.arange(len(seeds_N)) < len(seeds)
    design_N2 = np.stack([is_loss_N, np.ones(len(seeds_N))], axis=1)
    half_N2 = np.linalg.solve(covariance_NN, design_N2)
    return np.linalg.solve(design_N2.T @ half_N2, half_N2.T)[0], seeds_N


def _satterthwaite(parts: Sequence[float], freedoms: Sequence[int]) -> float:
    squares = sum(part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True))
    return float(sum(parts) ** 2 / squares)


def _indicators(values: Sequence[object]) -> NDArray[np.float64]:
    values_N = np.array(values)
    return np.asarray(values_N[:, None] == np.unique(values_N), dtype=float)
