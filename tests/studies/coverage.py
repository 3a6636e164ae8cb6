"""How often the interval of a gain holds, by simulation: `python -m tests.studies.coverage`.

Accuracies follow the additive model, loss + seed + rest, with a standard deviation of one point,
of whose square a share rho belongs to the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from studies.gains import Gain
from studies.statistics import Noise, compare

CONTROLS = 8
GAIN = 0.7
ROUNDING = 1e-9
"""Where rho is 1 and every seed is shared, the interval is a point."""


@dataclass(frozen=True)
class Result:
    """Of many studies: the shares of them, and widths in points."""

    covered: float
    wrongly_better: float
    half_width: float
    unpaired_half_width: float


def simulate(rho: float, seeds: int, losses: int, *, studies: int, seed: int = 1) -> Result:
    """Studies with so many losses on so many seeds, cross-entropy among them on at least eight.

    The unpaired interval, from the controls' spread alone, is there to compare with.
    """
    rng = np.random.default_rng(seed)
    covered = better = 0
    widths, unpaired = [], []
    for _ in range(studies):
        controls = max(seeds, CONTROLS)
        shared_N = 70 + sqrt(rho) * rng.normal(size=controls)
        runs_LN = shared_N + sqrt(1 - rho) * rng.normal(size=(losses, controls))
        runs_LN[1] += GAIN
        finals = {
            str(loss): dict(enumerate(run_N[: controls if loss == 0 else seeds].tolist()))
            for loss, run_N in enumerate(runs_LN)
        }
        noise = Noise.pooled(finals, finals["0"])
        gain = compare(finals["1"], finals["0"], noise)
        low, high = gain.interval()
        covered += low - ROUNDING <= GAIN <= high + ROUNDING
        better += low - ROUNDING > GAIN
        widths.append((high - low) / 2)
        error = sqrt(noise.whole * (1 / seeds + 1 / controls))
        unpaired.append(Gain(0, error, noise.whole_freedom).interval()[1])
    return Result(
        covered / studies, better / studies, float(np.mean(widths)), float(np.mean(unpaired))
    )


def table(studies: int) -> str:
    """Every case as a table in Markdown."""
    lines = [
        "| seeds | losses | rho | covered | better by mistake | half width | unpaired |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for seeds in (3, 5, 12):
        for losses in (2, 4, 8):
            for rho in (0.0, 0.25, 0.5, 0.75, 0.9, 1.0):
                found = simulate(rho, seeds, losses, studies=studies)
                lines.append(
                    f"| {seeds} | {losses} | {rho} | {100 * found.covered:.1f} % | "
                    f"{100 * found.wrongly_better:.1f} % | {found.half_width:.2f} | "
                    f"{found.unpaired_half_width:.2f} |"
                )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(10_000))  # noqa: T201
