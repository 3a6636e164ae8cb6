"""The samplers that a definition may name, as Optuna's own classes."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from studies.definition import StudyDefinition

Distributions = dict[str, BaseDistribution]


class Elsewhere(BaseSampler):
    """Lets another sampler learn from another study than the one that it draws for."""

    def __init__(self, sampler: BaseSampler, study: Study) -> None:
        self._sampler = sampler
        self._study = study

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Distributions:
        """See Optuna."""
        return self._sampler.infer_relative_search_space(self._study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Distributions
    ) -> dict[str, Any]:
        """See Optuna."""
        return self._sampler.sample_relative(self._study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See Optuna."""
        return self._sampler.sample_independent(self._study, trial, param_name, param_distribution)


def make_sampler(
    definition: StudyDefinition, trial: int, memory: Study | None = None
) -> BaseSampler:
    """The sampler for one trial, seeded from the study's seed and the trial's number.

    Args:
        definition: the study's.
        trial: its number.
        memory: what a sampler that learns is to learn from; None for the study that it draws for.
    """
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
        tpe = TPESampler(
            seed=seed,
            n_startup_trials=options.startup,
            n_ei_candidates=options.candidates,
            multivariate=True,
            group=True,  # conditional parameters: a schedule's end exists only where it moves
        )
        return tpe if memory is None else Elsewhere(tpe, memory)


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
