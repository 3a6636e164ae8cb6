"""How a study stands: counted trials, the best one, and what was promoted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from studies.standings import CROSS_ENTROPY, spec_of
from studies.tables import Evaluation

KINDS = ("complete", "pruned", "rejected", "failed", "running", "waiting")


def kind(trial: FrozenTrial) -> str:
    """One of KINDS; a diverged trial counts as rejected: both say that the loss is no good."""
    outcome = trial.user_attrs.get("outcome")
    if outcome in ("diverged", "rejected"):
        return "rejected"
    return {TrialState.FAIL: "failed"}.get(trial.state, trial.state.name.lower())


def best_trial(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial with the highest gain; cross-entropy is what gains are over."""
    complete = [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE and spec_of(trial) != CROSS_ENTROPY
    ]
    return max(complete, key=lambda trial: trial.value or 0.0, default=None)


def status(
    name: str, total: int, trials: Sequence[FrozenTrial], evaluations: Sequence[Evaluation]
) -> dict[str, Any]:
    """How a study stands, ready for JSON."""
    counts = Counter(map(kind, trials))
    best = best_trial(trials)
    return {
        "study": name,
        "total": total,
        "trials": {each: counts[each] for each in KINDS},
        "best": None if best is None else describe(best),
        "promoted": [
            {
                "trial": each.trial,
                "name": each.name,
                "benchmark": each.run.benchmark,
                "seed": each.run.seed,
                "epochs": each.run.epochs,
                "best_accuracy": round(each.run.best_accuracy, 4),
                "final_accuracy": round(each.run.final_accuracy, 4),
            }
            for each in evaluations
            if each.trial is not None
        ],
    }


def describe(trial: FrozenTrial) -> dict[str, Any]:
    """A complete trial, ready for JSON."""
    spec = spec_of(trial)
    return {
        "trial": trial.number,
        "gain": round(float(trial.value or 0.0), 4),
        "standard_error": trial.user_attrs.get("standard_error"),
        "spec": spec.to_dict(),
        "formula": spec.formula,
    }
