"""The samplers that a definition may name, as Optuna's own classes."""

from __future__ import annotations

import hashlib
import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from studies.definition import StudyDefinition


def make_sampler(definition: StudyDefinition, trial: int) -> BaseSampler:
    """The sampler for one trial, seeded from the study's seed and the trial's number."""
    text = f"{definition.search.seed}/{trial}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    if definition.sampler.name == "random":
        return RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(
            seed=seed,
            n_startup_trials=definition.sampler.startup,
            multivariate=True,
            group=True,  # conditional parameters: a schedule's end exists only where it moves
        )
