"""Giving up a trial early: by what gains have told of the end before, after a warm-up.

Shapes: N complete trials, F features of a trial.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import nlargest
from statistics import NormalDist
from typing import cast

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from studies.definition import StudyDefinition

Vector = NDArray[np.float64]

PRIOR_TRIALS = 8
"""How many complete trials the controls' noise is worth: as for the estimate of rho."""


class WarmupPruner(BasePruner):
    """Holds another pruner back: early in a seed's training, curves say little of where they end.

    Args:
        pruner: the one that decides after the warm-up.
        epochs: steps from one seed of a trial to the next.
        warmup: how many of them pass, in every seed, before the other pruner is asked.
    """

    def __init__(self, pruner: BasePruner, *, epochs: int, warmup: int) -> None:
        self._pruner = pruner
        self._epochs = epochs
        self._warmup = warmup

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to give the trial up."""
        step = trial.last_step
        if step is None or step % self._epochs < self._warmup:
            return False
        return self._pruner.prune(study, trial)


class PairedPruner(BasePruner):
    """Gives a trial up when what it has shown speaks against its being the best.

    Cross-entropy, whose gain is 0 at every step, and the better half of the complete trials say
    how a final gain follows from what was known at this step: a linear regression on the mean of
    the seeds that have ended and on the gain in the seed now running, shrunk by the noise of the
    controls towards what holds if losses differ by noise alone (an ended seed counts with its
    share of all seeds, a running one not at all). A trial is taken to end where the best has, an
    even chance, until the regression of its distances from there says otherwise; it is given up
    when the chance of ending there or above is less than 1 - ``confidence``.

    So a gain counts for as much as it has told of the end before: nothing early in a seed. It
    never counts against a loss, though among a few trials those behind may have ended in front.

    Args:
        noise: standard deviation (points) of a trial's mean gain at a step.
        confidence: one-sided, in (0.5, 1).
        seeds: of a trial, one after another.
        epochs: steps from one seed to the next.

    References:
        The regression has a normal prior (ridge): Bishop, 2006, Pattern Recognition and Machine
        Learning, section 3.3, with the centre of the prior away from 0.
    """

    def __init__(
        self, noise: Callable[[int], float], *, confidence: float, seeds: int, epochs: int
    ) -> None:
        self._noise = noise
        self._quantile = NormalDist().inv_cdf(confidence)
        self._seeds = seeds
        self._epochs = epochs

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to give the trial up."""
        step = trial.last_step
        if step is None:
            return False
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        rivals = [
            t for t in complete if trial.intermediate_values.keys() <= t.intermediate_values.keys()
        ]
        better = nlargest((len(rivals) + 1) // 2, rivals, key=_final)
        seen_F = self._seen(trial, step)
        cross_entropy_F = np.zeros_like(seen_F)
        final_N = np.array([0.0, *map(_final, better)])
        weights_F, spread = self._regression(
            np.array([cross_entropy_F, *(self._seen(rival, step) for rival in better)]),
            final_N,
            step,
        )
        return bool((seen_F - final_N.max()) @ weights_F < -self._quantile * spread)

    def _seen(self, trial: FrozenTrial, step: int) -> Vector:
        """The mean gain of the seeds that have ended, and the gain in the one now running."""
        ended, running = divmod(step + 1, self._epochs)
        past = trial.intermediate_values[ended * self._epochs - 1] if ended else 0.0
        here = trial.intermediate_values[step] * (ended + 1) - past * ended
        return np.array([past] * (ended > 0) + [here] * (running > 0))

    def _regression(self, seen_NF: Vector, final_N: Vector, step: int) -> tuple[Vector, float]:
        """Each feature's weight in the final gain, and the spread about what they predict."""
        ended, running = divmod(step + 1, self._epochs)
        last = self._epochs - 1
        told = [ended * self._epochs - 1] * (ended > 0) + [running - 1] * (running > 0)
        noise_F = [self._noise(at) for at in told]
        prior_F = np.array([ended / self._seeds] * (ended > 0) + [0.0] * (running > 0))
        unseen = (self._seeds - ended) * self._noise(last) ** 2 / self._seeds**2

        centred_NF, centred_N = seen_NF - seen_NF.mean(axis=0), final_N - final_N.mean()
        shrinkage_F = PRIOR_TRIALS * np.maximum(np.square(noise_F), 1e-12)
        weights_F = np.linalg.solve(
            centred_NF.T @ centred_NF + np.diag(shrinkage_F),
            centred_NF.T @ centred_N + shrinkage_F * prior_F,
        )
        weights_F = np.maximum(weights_F, 0)
        squares = ((centred_N - centred_NF @ weights_F) ** 2).sum()
        spread = (squares + PRIOR_TRIALS * unseen) / (len(final_N) + PRIOR_TRIALS)
        return weights_F, float(spread**0.5)


def _final(trial: FrozenTrial) -> float:
    # Complete trials have one.
    return cast(float, trial.value)


def make_pruner(definition: StudyDefinition, noise: Callable[[int], float]) -> BasePruner:
    """The pruner that a definition asks for."""
    options = definition.pruner
    if options.name == "none":
        return NopPruner()
    search = definition.search
    paired = PairedPruner(
        noise,
        confidence=options.confidence,
        seeds=search.seeds,
        epochs=search.epochs,
    )
    warmup = round(options.warmup * search.epochs)
    return WarmupPruner(paired, epochs=search.epochs, warmup=warmup)
