"""Which losses of a study are not worth a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from losses import LossSpec, published
from studies.definition import StudyDefinition
from studies.standings import BASELINES, published_name, spec_of

if TYPE_CHECKING:
    from losses.fingerprint import Fingerprint


class Screener:
    """Screens the losses of one study, and remembers what was tried.

    The fingerprints are in memory alone: after a restart they are taken again from the trials'
    specs.
    """

    def __init__(self, definition: StudyDefinition) -> None:
        self._rules = definition.screening
        self._epochs = definition.search.epochs
        self._tried: dict[int, Fingerprint] = {}
        self._baselines: list[Fingerprint] = []

    def refusal(self, number: int, spec: LossSpec, trials: Sequence[FrozenTrial]) -> str | None:
        """Say why the loss of a trial is refused; None where it is not.

        Args:
            number: the trial's.
            spec: its loss.
            trials: the study's; a loss is compared with those of earlier trials alone, so that a
                study refuses the same whether or not it was interrupted.
        """
        if not self._rules.enabled:
            return None
        # Imported here: by now the worker processes are at work, which did not wait for torch.
        from losses.screening import screen

        against = self._earlier(number, trials) if self._rules.duplicates == "refuse" else []
        finding = screen(self._fingerprint("this", spec), against=against)
        return None if finding is None else f"{finding.kind.replace('_', ' ')}: {finding.reason}"

    def _earlier(self, number: int, trials: Sequence[FrozenTrial]) -> list[Fingerprint]:
        # A baseline that the space does not hold has no trial, and is run all the same.
        self._baselines = self._baselines or [
            self._fingerprint(f"the published {name}", published()[name]) for name in BASELINES
        ]
        earlier = []
        for trial in trials:
            # Memory that ran out and workers that died say nothing about a loss.
            if trial.number >= number or trial.state == TrialState.FAIL:
                continue
            if trial.number not in self._tried and "spec" in trial.user_attrs:
                spec = spec_of(trial)
                known = published_name(spec)
                name = f"trial {trial.number}" + (f" ({known})" if known else "")
                self._tried[trial.number] = self._fingerprint(name, spec)
            if trial.number in self._tried:
                earlier.append(self._tried[trial.number])
        return earlier + self._baselines

    def _fingerprint(self, name: str, spec: LossSpec) -> Fingerprint:
        from losses.fingerprint import Fingerprint

        return Fingerprint.of(name, spec, epochs=self._epochs)
