"""What each rung of a study cost and changed, and what chance alone would have shown there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial
from scipy.special import ndtr

from studies.definition import StudyDefinition
from studies.gains import Expectation
from studies.standings import CROSS_ENTROPY, Ladder
from studies.status import kind
from studies.tables import Run


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One rung, the search being the first and the test split the last.

    Attributes:
        runs, seconds: what this study trained for it, in runs and in seconds of its device.
        candidates: how many losses were compared there.
        leader: the trial that was best there.
        gain: the leader's there, in points.
        before: the leader's one rung earlier; None at the search.
        left: trials that went no further.
        by_chance: gain (points) that the best of as many candidates shows on average if all of
            them are cross-entropy.
    """

    name: str
    runs: int
    seconds: float
    candidates: int = 0
    leader: int | None = None
    gain: float | None = None
    before: float | None = None
    left: Sequence[int] = ()
    by_chance: float | None = None

    @property
    def chance(self) -> str:
        """What being picked is worth, in words; empty where it is not known."""
        if self.by_chance is None:
            return ""
        return (
            f"the best of {self.candidates} losses that are all cross-entropy would show "
            f"{self.by_chance:+.2f} points"
        )

    def to_dict(self) -> dict[str, Any]:
        """Every number, ready for JSON."""
        return {**asdict(self), "left": list(self.left)}


def rungs(
    definition: StudyDefinition,
    ladder: Ladder,
    trials: Sequence[FrozenTrial],
    runs: Sequence[Run],
) -> list[Rung]:
    """Every rung that has begun.

    Args:
        definition: the study's.
        ladder: where its candidates stand.
        trials: all of them.
        runs: all that were trained for this study, however they ended.
    """
    found = [_search(definition, ladder, trials, runs)]
    gains = {each.number: each.value for each in ladder.finished}
    for number in range(1, len(definition.rungs)):
        spent = _spent(runs, definition, number)
        standings = ladder.standings(number)
        if not spent["runs"] and not standings:  # the runs of another study may have served
            break
        stayed = [each.number for each in standings if each.stays]
        entered = [each.number for each in ladder.candidates(number)]
        leader = standings[0] if standings else None
        found.append(
            Rung(
                name=f"rung {number}",
                **spent,
                candidates=len(entered),
                leader=leader.number if leader else None,
                gain=leader.gain.mean if leader else None,
                before=gains[leader.number] if leader else None,
                left=[each for each in entered if standings and each not in stayed],
                by_chance=_by_chance(ladder, number, len(entered)),
            )
        )
        gains |= {each.number: each.gain.mean for each in standings}
    tested = [run for run in runs if run.split == "evaluation"]
    if tested:
        seconds = sum(run.seconds for run in tested)
        found.append(Rung(name="test split", runs=len(tested), seconds=seconds))
    return found


def best_of(candidates: int) -> float:
    """The mean of the largest of so many independent standard normal numbers."""
    step = 0.005
    x = np.arange(-9, 9, step) + step / 2
    below = ndtr(x) ** candidates
    # E[max] is the integral of P(max > x) above zero less that of P(max < x) below.
    return float(np.where(x > 0, 1 - below, -below).sum() * step)


def _search(
    definition: StudyDefinition,
    ladder: Ladder,
    trials: Sequence[FrozenTrial],
    runs: Sequence[Run],
) -> Rung:
    compared = {
        str(trial.user_attrs["spec"])
        for trial in trials
        if kind(trial) in ("complete", "pruned") and "spec" in trial.user_attrs
    }
    compared.discard(str(CROSS_ENTROPY.to_dict()))
    entered = ladder.candidates(1)
    leader = entered[0] if entered else None
    return Rung(
        name="search",
        **_spent(runs, definition, 0),
        candidates=len(compared),
        leader=leader.number if leader else None,
        gain=leader.value if leader else None,
        by_chance=_by_chance(ladder, 0, len(compared)),
    )


def _spent(runs: Sequence[Run], definition: StudyDefinition, rung: int) -> dict[str, Any]:
    """Controls included; the seed of a run says at which rung it was made."""
    first = definition.seeds(rung)[0]
    mine = [r for r in runs if r.split == "search" and first <= r.seed < first + 1000]
    return {"runs": len(mine), "seconds": sum(run.seconds for run in mine)}


def _by_chance(ladder: Ladder, rung: int, candidates: int) -> float | None:
    rule = ladder.definition.rungs[rung]
    expectations: Sequence[Expectation] = list(ladder.expectations(rule.epochs).values())
    if not expectations or not candidates:
        return None
    # What the candidates share, their controls, shifts all of them alike.
    squares = sum(float(each.residual_E[-1]) ** 2 for each in expectations)
    error: float = (squares / rule.seeds) ** 0.5 / len(expectations)
    return best_of(candidates) * error
