"""A loss at one fidelity: its runs, the step they have reached together, and the gain so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from losses import LossSpec
from search.executors import RunRequest
from studies.gains import Expectation, Gain, mean_gain


@dataclass(kw_only=True)
class Candidate:
    """One loss on its seeds, one after another, and on every benchmark of a seed in lockstep.

    Attributes:
        expectations: what cross-entropy gives, by benchmark.
        curves: accuracy (%) after each epoch so far, by (seed, benchmark).
    """

    spec: LossSpec
    seeds: Sequence[int]
    epochs: int
    expectations: Mapping[str, Expectation]
    curves: dict[tuple[int, str], list[float]] = field(default_factory=dict)

    def requests(self) -> list[list[RunRequest]]:
        """Every run, grouped by seed."""
        return [
            [
                RunRequest(benchmark=name, loss=self.spec, seed=seed, epochs=self.epochs)
                for name in self.expectations
            ]
            for seed in self.seeds
        ]

    def add(self, request: RunRequest, accuracy: float) -> int | None:
        """Take an epoch's accuracy (%).

        Returns:
            The step = seed index * epochs + epoch that every benchmark has now reached; None
            while one is still behind.
        """
        curve = self.curves.setdefault((request.seed, request.benchmark), [])
        curve.append(accuracy)
        together = [len(self.curves.get((request.seed, name), ())) for name in self.expectations]
        if min(together) < len(curve):
            return None
        return list(self.seeds).index(request.seed) * self.epochs + len(curve) - 1

    def value(self, step: int) -> float:
        """The mean gain (points) at a step: over benchmarks, and over the seeds so far.

        A seed that has ended counts with its final epoch.
        """
        index, epoch = divmod(step, self.epochs)
        last = [self.epochs - 1] * index + [epoch]
        gains = [
            expectation.gains(seed, self.curves[seed, name][: end + 1])[-1]
            for seed, end in zip(self.seeds, last, strict=False)
            for name, expectation in self.expectations.items()
        ]
        return float(sum(gains) / len(gains))

    def gains(self) -> dict[str, Gain]:
        """The gain on each benchmark, when every run is complete."""
        return {
            name: expectation.gain({seed: self.curves[seed, name] for seed in self.seeds})
            for name, expectation in self.expectations.items()
        }

    def attributes(self) -> dict[str, Any]:
        """What a finished trial carries of its gains, so that any Optuna client can read it."""
        gains = self.gains()
        return {
            "gain": {name: round(gain.mean, 4) for name, gain in gains.items()},
            "standard_error": round(mean_gain(list(gains.values())).standard_error, 4),
            "rho": {name: round(float(e.rho_E[-1]), 4) for name, e in self.expectations.items()},
        }


def noise(candidate: Candidate, step: int) -> float:
    """Standard deviation (points) of a candidate's mean gain at a step, over all benchmarks."""
    seeds, epoch = divmod(step, candidate.epochs)
    variances = [each.noise(seeds, epoch) ** 2 for each in candidate.expectations.values()]
    return float(sum(variances) ** 0.5 / len(variances))
