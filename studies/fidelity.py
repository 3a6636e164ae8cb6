"""Whether a cheap look at losses ranks them as a dearer one does: Kendall's tau, as measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import isnan
from typing import Any

import numpy as np

from studies.leaderboard import Row, mean_gains
from studies.standings import CROSS_ENTROPY, Ladder

LEAST_LOSSES = 8
"""With fewer losses run at both fidelities, a rank correlation says next to nothing."""

RESAMPLES = 1000

Gains = Mapping[str, float]
"""Gains (points) by loss id, of all losses run at one fidelity."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How two fidelities agree on the ranks of the losses that were run at both.

    Attributes:
        cheap, dear: their names.
        losses: how many were run at both.
        tau: Kendall's tau-b; None where it is not defined.
        low, high: its 95 % interval by a bootstrap over the losses; None with too few.
    """

    cheap: str
    dear: str
    losses: int
    tau: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def words(self) -> str:
        """Whether the cheap one can be trusted, as a sentence."""
        if self.losses < LEAST_LOSSES or self.tau is None or self.low is None:
            return (
                f"whether {self.cheap} ranks losses as {self.dear} does: too few to tell "
                f"({self.losses} run at both)"
            )
        numbers = (
            f"tau {self.tau:+.2f}, 95 % interval {self.low:+.2f} to {self.high:+.2f}, "
            f"{self.losses} losses"
        )
        if self.low > 0:
            return f"{self.cheap} can be trusted to rank losses as {self.dear} does: {numbers}"
        return f"{self.cheap} is not shown to rank losses as {self.dear} does: {numbers}"

    def to_dict(self) -> dict[str, Any]:
        """Every number, ready for JSON."""
        return {**asdict(self), "words": self.words}


def agreement(cheap: str, dear: str, first: Gains, second: Gains) -> Agreement:
    """Compare the ranks that two fidelities give to the losses run at both."""
    both = sorted(set(first) & set(second))
    if len(both) < LEAST_LOSSES:
        return Agreement(cheap=cheap, dear=dear, losses=len(both))
    pairs_N2 = np.array([(first[loss], second[loss]) for loss in both])
    rng = np.random.default_rng(0)
    draws = [pairs_N2[rng.integers(len(both), size=len(both))] for _ in range(RESAMPLES)]
    taus = [tau for drawn_N2 in draws if (tau := kendall(drawn_N2)) is not None]
    low, high = np.quantile(taus, [0.025, 0.975]).tolist() if taus else (None, None)
    return Agreement(
        cheap=cheap, dear=dear, losses=len(both), tau=kendall(pairs_N2), low=low, high=high
    )


def kendall(pairs_N2: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    """Kendall's tau-b of N pairs; None where one side is all ties."""
    from scipy.stats import kendalltau  # takes most of a second to import

    tau = float(kendalltau(pairs_N2[:, 0], pairs_N2[:, 1]).statistic)
    return None if isnan(tau) else tau


def agreements(ladder: Ladder, rows: Sequence[Row]) -> list[Agreement]:
    """Every two fidelities that some losses were both run at, the search first."""
    levels: dict[str, Gains] = {"the search": _searched(ladder)}
    for rung in range(1, len(ladder.definition.rungs)):
        standings = ladder.standings(rung)
        levels[f"rung {rung}"] = {each.spec.id: each.gain.mean for each in standings}
    tested = mean_gains(rows, ladder.definition.search.benchmarks)
    levels["the test split"] = {loss: gain.mean for loss, gain in tested.items()}
    return [
        agreement(cheap, dear, levels[cheap], levels[dear])
        for cheap, dear in combinations(levels, 2)
        if set(levels[cheap]) & set(levels[dear])
    ]


def _searched(ladder: Ladder) -> Gains:
    gains = {
        ladder.references[name].id: gain.mean for name, gain in ladder.reference_gains().items()
    }
    for each in ladder.finished:
        if each.spec != CROSS_ENTROPY:
            gains.setdefault(each.spec.id, each.value)
    return gains
