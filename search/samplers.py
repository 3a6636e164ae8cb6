"""The samplers that a definition may name, as Optuna's own classes."""

from __future__ import annotations

import hashlib
import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler

from studies.definition import StudyDefinition


def make_sampler(definition: StudyDefinition, trial: int) -> BaseSampler:
    """The sampler for one trial, seeded from the study's seed and the trial's number."""
    options, study_seed = definition.sampler, definition.search.seed
    seed = _seed(f"{study_seed}/{trial}")
    if options.name == "random":
        return RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if options.name == "qmc":
            return QMCSampler(
                qmc_type=options.sequence,
                scramble=True,
                seed=_seed(f"{study_seed}"),  # one sequence, on which each trial takes a step
                independent_sampler=RandomSampler(seed=seed),
                warn_independent_sampling=False,  # what only some trials have is drawn at random
            )
        return TPESampler(
            seed=seed,
            n_startup_trials=options.startup,
            n_ei_candidates=options.candidates,
            multivariate=True,
            group=True,  # conditional parameters: a schedule's end exists only where it moves
        )


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
