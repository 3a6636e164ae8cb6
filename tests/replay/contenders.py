"""The pruners that compete on the bank: what each is told, and the options it may choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from statistics import fmean
from typing import Any

import optuna
from optuna.pruners import BasePruner

from search.objective import Candidate, noise
from search.pruning import make_pruner
from studies.definition import Pruner
from tests.replay import bank

SEEDS = 3
EPOCHS = bank.EPOCHS["search"]
PLAIN = bank.definition("quickstart")

Told = Callable[[Candidate, int], tuple[float, int] | None]
"""What a trial reports at a step (value, step), if anything."""


def gain(candidate: Candidate, step: int) -> tuple[float, int]:
    """The mean gain over the seeds so far, as the project reports it."""
    return candidate.value(step), step


def accuracy(candidate: Candidate, step: int) -> tuple[float, int]:
    """The mean accuracy over the seeds so far, as a plain study would report it."""
    ended, epoch = divmod(step, candidate.epochs)
    last = [candidate.epochs - 1] * ended + [epoch]
    curves = [candidate.curves[seed, bank.BENCHMARK] for seed in candidate.seeds[: ended + 1]]
    return fmean(curve[end] for curve, end in zip(curves, last, strict=True)), step


def seeds(candidate: Candidate, step: int) -> tuple[float, int] | None:
    """A seed's final accuracy when it ends: each seed is an instance."""
    seed, epoch = divmod(step, candidate.epochs)
    if epoch + 1 < candidate.epochs:
        return None
    return candidate.curves[candidate.seeds[seed], bank.BENCHMARK][-1], seed


def epochs(candidate: Candidate, step: int) -> tuple[float, int]:
    """Every epoch's accuracy: each epoch of each seed is an instance."""
    seed, epoch = divmod(step, candidate.epochs)
    return candidate.curves[candidate.seeds[seed], bank.BENCHMARK][epoch], step


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A pruner with its options: ``make`` gives, for every study, a pruner for every trial."""

    name: str
    options: Mapping[str, Any]
    told: Told = gain
    make: Callable[[], Callable[[Candidate], BasePruner]]

    def __str__(self) -> str:
        options = ", ".join(f"{key} {value}" for key, value in self.options.items())
        return f"{self.name} ({options}{', ' if options else ''}told the {self.told.__name__})"


def for_all(pruner: Callable[[], BasePruner]) -> Callable[[Candidate], BasePruner]:
    """One pruner for every trial of a study."""
    made = pruner()
    return lambda candidate: made


def paired(options: Pruner) -> Callable[[Candidate], BasePruner]:
    """Ours, as the coordinator makes it."""
    definition = PLAIN.model_copy(update={"pruner": options})
    return lambda candidate: make_pruner(definition, partial(noise, candidate))


def grid(**choices: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Every combination."""
    for values in product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def contenders() -> dict[str, list[Contender]]:
    """Every method with the options among which it may choose."""

    def optuna_(name: str, kind: type[BasePruner], told: Sequence[Told], **choices: Any) -> Any:
        return [
            Contender(
                name=name,
                options=options,
                told=how,
                make=partial(for_all, partial(kind, **options)),
            )
            for how in told
            for options in grid(**choices)
        ]

    last = len(bank.SEEDS) * bank.EPOCHS["search"]
    return {
        "none": optuna_("none", optuna.pruners.NopPruner, [gain]),
        "Optuna's median": optuna_(
            "median",
            optuna.pruners.MedianPruner,
            [gain, accuracy],
            n_startup_trials=[3, 6],
            n_warmup_steps=[3, 7, 10, 14],
        ),
        "Optuna's Hyperband": optuna_(
            "Hyperband",
            optuna.pruners.HyperbandPruner,
            [gain, accuracy],
            min_resource=[3, 7, 10, 14],
            max_resource=[last],
            reduction_factor=[2, 3, 4],
        ),
        "Optuna's Wilcoxon": [
            *optuna_(
                "Wilcoxon",
                optuna.pruners.WilcoxonPruner,
                [seeds],
                # It is asked after two seeds alone, of which no p value is below 0.25.
                p_threshold=[0.2, 0.3, 0.5],
                n_startup_steps=[2],
            ),
            *optuna_(
                "Wilcoxon",
                optuna.pruners.WilcoxonPruner,
                [epochs],
                p_threshold=[0.01, 0.05, 0.1, 0.2],
                # Up to thirteen values SciPy computes the test exactly, for seconds, once a value
                # comes twice.
                n_startup_steps=[14],
            ),
        ],
        "ours": [
            Contender(name="paired", options=options, make=partial(paired, Pruner(**options)))
            for options in grid(
                warmup=[0.2, 0.35, 0.5], confidence=[0.52, 0.54, 0.56, 0.58, 0.6, 0.65]
            )
        ],
    }
