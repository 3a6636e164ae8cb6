"""Giving up a trial early: paired, with the noise that the controls reveal, after a warm-up."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

from optuna import Study
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from studies.definition import StudyDefinition


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
    """Gives a trial up when it will hardly be among the best few.

    A trial's gains share seeds, data order and validation images with those of every other
    trial, so at the same step they differ by the two losses and by what is left of the noise.
    A trial is given up when its gain lies so far below that of the ``keep``-th best complete
    trial at the same step that this noise explains the distance in fewer than 1 - ``confidence``
    of the cases.

    Args:
        noise: standard deviation (points) of a trial's mean gain at a step.
        keep: how many trials climb on.
        confidence: one-sided, in (0.5, 1).
    """

    def __init__(self, noise: Callable[[int], float], keep: int, confidence: float) -> None:
        self._noise = noise
        self._keep = keep
        self._quantile = NormalDist().inv_cdf(confidence)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to give the trial up."""
        step = trial.last_step
        if step is None:
            return False
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        rivals = sorted(
            (t.intermediate_values[step] for t in complete if step in t.intermediate_values),
            reverse=True,
        )
        if len(rivals) < self._keep:
            return False
        distance = rivals[self._keep - 1] - trial.intermediate_values[step]
        # Both trials are noisy, hence the square root of two.
        return bool(distance > self._quantile * 2**0.5 * self._noise(step))


def make_pruner(definition: StudyDefinition, noise: Callable[[int], float]) -> BasePruner:
    """The pruner that a definition asks for."""
    options = definition.pruner
    if options.name == "none":
        return NopPruner()
    paired = PairedPruner(noise, definition.search.keep, options.confidence)
    epochs = definition.search.epochs
    return WarmupPruner(paired, epochs=epochs, warmup=round(options.warmup * epochs))
