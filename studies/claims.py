"""The one primary claim of a study: fixed before the test split is opened, judged after."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from studies.gains import Gain, mean_gain
from studies.standings import CROSS_ENTROPY
from studies.statistics import Noise, compare
from studies.tables import Evaluation, Run

LEAST_CONTROLS = 8
LEVEL = 0.025
"""One-sided level of the primary claim."""

TEST = "one-sided, 2.5 %, mean over the search's benchmarks"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """That a study's pick is better than plain cross-entropy, and the runs that are to show it.

    What a claim of an older version did not say is None.

    Attributes:
        loss: id of the pick.
        seeds: those of the pick.
        epochs: of the search's benchmarks, by name.
        controls: the seeds of cross-entropy.
        protocols: digests of the benchmarks' protocols, by name.
        device: "cpu" or "cuda".
        losses: ids of all losses whose runs say how large the noise is.
        detectable: the gain (points) that is found in four cases of five, as it was planned.
        wanted: the gain that the seeds were to find, where their number was planned.
    """

    trial: int
    loss: str
    seeds: Sequence[int]
    epochs: Mapping[str, int]
    controls: Sequence[int] | None = None
    protocols: Mapping[str, str] | None = None
    device: str | None = None
    losses: Sequence[str] | None = None
    detectable: float | None = None
    wanted: float | None = None
    against: str = "cross_entropy"
    test: str = TEST

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Claim:
        """A claim as it was stored, by this version or an older one."""
        return cls(**stored)

    def to_dict(self) -> dict[str, Any]:
        """The claim, ready for JSON."""
        return asdict(self)

    @property
    def promise(self) -> str:
        """What the runs were planned to find, in words; empty where it is not known."""
        if self.detectable is None:
            return ""
        runs = f"{len(self.seeds)} seeds beside {len(self.controls or ())} of cross-entropy"
        found = f"find a gain of {self.detectable:.2f} points or more in four cases of five"
        if self.suffices:
            return f"{runs} should {found}"
        return f"there are no seeds for a gain of {self.wanted:g} points: {runs} should {found}"

    @property
    def suffices(self) -> bool:
        """Whether the planned runs find the gain that was wanted."""
        return self.wanted is None or (self.detectable or 0.0) <= self.wanted

    def rests_on(self, run: Run) -> bool:
        """Whether a run is one of those that were named beforehand."""
        controls = run.seed in self.controls if self.controls is not None else True
        return (
            run.subset is None
            and run.epochs == self.epochs.get(run.benchmark)
            and (self.device is None or run.device == self.device)
            and (self.protocols is None or run.protocol == self.protocols[run.benchmark])
            and (self.losses is None or run.loss_id in self.losses)
            and (controls if run.loss_id == CROSS_ENTROPY.id else run.seed in self.seeds)
        )


@dataclass(frozen=True)
class Verdict:
    """What an evaluation shows of the primary claim, in numbers and in words."""

    gain: Gain
    shown: bool
    words: str

    def to_dict(self) -> dict[str, Any]:
        """Every number, ready for JSON."""
        return {**self.gain.to_dict(), "shown": self.shown, "words": self.words}


def verdict(evaluations: Sequence[Evaluation], claim: Claim) -> Verdict | None:
    """Whether the primary claim is shown; None while evaluations or controls are missing.

    The claim stands on the runs that it names: whoever adds seeds until it holds, or changes the
    device, shows nothing.
    """
    gains = []
    for benchmark in claim.epochs:
        finals = finals_by_loss(evaluations, claim, benchmark)
        pick, controls = finals[claim.loss], finals[CROSS_ENTROPY.id]
        complete = set(claim.seeds) <= set(pick) and set(claim.controls or ()) <= set(controls)
        if not complete or len(controls) < LEAST_CONTROLS:
            return None
        gains.append(compare(pick, controls, Noise.pooled(finals, controls)))
    gain = mean_gain(gains)
    shown = gain.mean > 0 and gain.p_value <= LEVEL
    numbers = f"{gain.words}, {len(claim.seeds)} seeds"
    if shown:
        return Verdict(gain, shown, f"better than cross-entropy: {numbers}")
    words = (
        f"not shown to differ from cross-entropy: {numbers}; "
        f"so few seeds find a gain of {gain.smallest_found():.2f} points or more "
        "in four cases of five"
    )
    return Verdict(gain, shown, words)


def finals_by_loss(
    evaluations: Sequence[Evaluation], claim: Claim, benchmark: str
) -> dict[str, dict[int, float]]:
    """Final accuracies (%) by loss and seed, of a claim's runs on one benchmark."""
    named = (each.run for each in evaluations if each.run.benchmark == benchmark)
    runs = [run for run in named if claim.rests_on(run)]
    # A claim that names neither is about what was trained first.
    first = next((run for run in runs if run.loss_id == claim.loss), None)
    finals: dict[str, dict[int, float]] = defaultdict(dict)
    for run in runs:
        if first and (run.device, run.protocol) == (first.device, first.protocol):
            finals[run.loss_id][run.seed] = run.final_accuracy
    return finals
