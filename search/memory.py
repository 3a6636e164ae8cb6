"""A study as its sampler and pruner see it: from memory, and without what tells them little."""

from __future__ import annotations

from collections.abc import Container, Sequence
from heapq import nlargest

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

LATEST = 500
BEST = 100
"""How many of the latest finished trials are seen, and of the best: a sampler's time grows with
what it sees, and TPE itself gives little weight to old trials that are not among its best 25."""


class Memory(optuna.Study):
    """The same study, which answers from the trials that it was last shown.

    Args:
        study_name: the study's.
        storage: where it is kept.
    """

    def __init__(self, study_name: str, storage: BaseStorage) -> None:
        super().__init__(study_name=study_name, storage=storage)
        self._seen: list[FrozenTrial] = []

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Look at all trials in their order; those at work are seen, too."""
        finished = [trial for trial in trials if trial.state.is_finished()]
        complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
        best = nlargest(BEST, complete, key=lambda trial: trial.value or 0.0)
        numbers = {trial.number for trial in (*best, *finished[-LATEST:])}
        self._seen = [t for t in trials if not t.state.is_finished() or t.number in numbers]

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        # What every look of Optuna's samplers and pruners goes through.
        return [trial for trial in self._seen if states is None or trial.state in states]
