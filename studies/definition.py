"""A study as its author writes it: tables and keys, and the rules that they keep."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from losses import LossSpec, published
from studies.keys import CONFIG, unique
from studies.space import Space
from training import Benchmark, BenchmarkError, benchmarks

EVALUATION_SEEDS = (42, 123, 456, *range(1001, 1013))
"""Seeds that belong to evaluations, in the order in which they are used; a search never does."""

FIRST_SEARCH_SEED = 2001
"""Seeds of the search; each later rung starts a thousand further on, on seeds not seen before."""

Count = Annotated[int, Field(ge=1, le=2**31 - 1)]  # what a database's integers can hold
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Table(BaseModel):
    """A table of the file: unknown keys are errors, and nothing changes after the check."""

    model_config = CONFIG


class OwnBenchmark(Table):
    """A benchmark of the user's own: see `training.Benchmark` for what the keys mean.

    ``architecture`` is an import path "package.module:build", or one of LosScout's own with its
    blocks and width; ``data`` a packed data set, or the path of a folder of images (with a slash
    in it). What is left out is the protocol of all benchmarks, or is read off the images.
    """

    name: Name
    architecture: str
    data: str
    num_classes: int | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    blocks: list[int] | None = None
    width: int | None = None
    resize: int | None = None
    crop_padding: int | None = None
    flip: bool | None = None
    epochs: Count | None = None
    batch_size: Count | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    hidden: bool = False
    cpu_threads: Count | None = None

    @model_validator(mode="after")
    def _would_make_a_benchmark(self) -> Self:
        if self.name in benchmarks():
            raise ValueError(f"name must not be that of LosScout's own {self.name}")
        channels = len(self.mean or self.std or [0.5])
        stand_ins = {"num_classes": 2, "mean": (0.5,) * channels, "std": (0.5,) * channels}
        data = {"data": "folder"} if "/" in self.data else {}
        try:
            Benchmark(**{**stand_ins, **self.given, **data})
        except BenchmarkError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def given(self) -> dict[str, Any]:
        """The fields of a `Benchmark` that the table gives."""
        fields = self.model_dump(exclude_none=True)
        return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


class Search(Table):
    """The first rung: how a trial is trained, and how many losses climb on from it."""

    benchmarks: Annotated[list[str], Field(min_length=1)]
    trials: Count
    epochs: Count
    # Controls, and the cross-entropy trial's seeds after them, must fit into a rung's thousand.
    seeds: Annotated[int, Field(ge=1, le=500)] = 3
    controls: Annotated[int, Field(ge=8, le=500)] = 8
    keep: Count = 4
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("benchmarks")
    @classmethod
    def _named_once(cls, names: list[str]) -> list[str]:
        return unique(names)


OPTIONS = {"tpe": {"startup", "candidates"}, "qmc": {"sequence"}, "random": set[str]()}
"""What each sampler can be told."""

UNFIT = ("gp", "cmaes")
"""Samplers of Optuna's that fit a surrogate to complete trials and to parameters they all have."""


class Sampler(Table):
    """Which of Optuna's samplers proposes the next loss.

    ``startup`` (trials drawn at random first) and ``candidates`` (points weighed for each draw)
    are options of tpe, ``sequence`` is one of qmc.
    """

    name: Literal["tpe", "qmc", "random"] = "tpe"
    startup: Annotated[int, Field(ge=0)] = 10
    candidates: Annotated[int, Field(ge=1)] = 24
    sequence: Literal["sobol", "halton"] = "sobol"

    @field_validator("name", mode="before")
    @classmethod
    def _fit_for_losses(cls, name: object) -> object:
        if isinstance(name, str) and name in UNFIT:
            raise ValueError(
                f"must be one of {', '.join(OPTIONS)} but got {name!r}: it learns nothing from "
                "trials that were refused, and draws at random what only some trials have"
            )
        return name

    @model_validator(mode="after")
    def _own_options(self) -> Self:
        changed = {
            option for option, value in self if value != type(self).model_fields[option].default
        }
        for option in sorted(changed - {"name"} - OPTIONS[self.name]):
            owner = next(name for name, options in OPTIONS.items() if option in options)
            raise ValueError(
                f"{option} must be left out for {self.name}: it is an option of {owner}"
            )
        return self


class Pruner(Table):
    """When a trial is given up: see search.pruning.

    ``warmup`` is the part of every seed's epochs in which none is. Without evidence a trial has an
    even chance to be the best; it is given up when that has sunk below 1 - ``confidence``.
    """

    name: Literal["paired", "none"] = "paired"
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.5
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.57


class Screening(Table):
    """What is refused before it is trained: see losses.screening.

    ``duplicates = "keep"`` trains a loss again that was tried: for studies of the noise itself,
    whose candidates are one loss.
    """

    enabled: bool = True
    duplicates: Literal["refuse", "keep"] = "refuse"


class Rung(Table):
    """One step of the ladder: fresh seeds, and how many candidates stay."""

    epochs: Count
    seeds: Annotated[int, Field(ge=1, le=900)]
    keep: Count


class Promotion(Table):
    """The last rung: full epochs, evaluation seeds, the sealed test split.

    ``detect`` is a gain (points) that is to be found in four cases of five: the number of seeds
    is then planned from the controls' spread. ``scales`` and ``scale_matched`` ask for
    cross-entropy times those factors, and times the pick's own gradient scale: a learning rate.
    ``tuned`` asks for label smoothing that was searched as hard as the pick.
    """

    automatic: bool = False
    top: Count = 1
    epochs: Count | None = None
    seeds: Annotated[list[int], Field(min_length=1)] = list(EVALUATION_SEEDS[:3])
    detect: Annotated[float, Field(gt=0)] | None = None
    controls: Annotated[int, Field(ge=1, le=len(EVALUATION_SEEDS))] = 8
    benchmarks: Annotated[list[str], Field(min_length=1)] | None = None
    against: list[str] = ["label_smoothing", "focal", "poly1"]
    scales: list[Annotated[float, Field(gt=0)]] = [0.5, 2.0]
    scale_matched: bool = True
    tuned: bool = False

    @field_validator("seeds")
    @classmethod
    def _evaluation_seeds(cls, seeds: list[int]) -> list[int]:
        return check_evaluation_seeds(seeds)

    @model_validator(mode="after")
    def _seeds_are_given_or_planned(self) -> Self:
        if self.detect is not None and "seeds" in self.model_fields_set:
            raise ValueError(f"detect plans the seeds: leave out seeds (got {self.seeds})")
        return self

    @field_validator("benchmarks")
    @classmethod
    def _named_once(cls, names: list[str] | None) -> list[str] | None:
        return names and unique(names)

    @field_validator("scales")
    @classmethod
    def _scales_named_once(cls, scales: list[float]) -> list[float]:
        if 1.0 in scales:
            raise ValueError("must not name 1: that is cross-entropy itself")
        return unique(scales)

    @field_validator("against")
    @classmethod
    def _published(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in published():
                raise ValueError(
                    f"must name published losses ({', '.join(published())}) but got {name!r}"
                )
        return unique(names)


class Start(Table):
    """Losses that come right after the baselines: one by itself, or the best of another study.

    ``loss`` is a published loss's name or a table with family and parameters; ``study`` the name
    of a study in the same database, ``top`` how many of its best.
    """

    loss: str | dict[str, Any] | None = None
    study: Name | None = None
    top: Count = 1

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.loss is None) == (self.study is None):
            raise ValueError("must have either loss or study")
        if isinstance(self.loss, str) and self.loss not in published():
            raise ValueError(
                f"loss must be one of {', '.join(published())}, or a table with family and "
                f"parameters, but got {self.loss!r}"
            )
        if self.loss is not None:
            _ = self.spec  # a LossError is a ValueError: it names what is wrong
        return self

    @property
    def spec(self) -> LossSpec:
        """The loss that the table names."""
        if isinstance(self.loss, str):
            return published()[self.loss]
        return LossSpec.from_dict(self.loss)


class StudyDefinition(Table):
    """A whole study.

    ``ladder`` holds the rungs after the search; candidates are trained on seeds that no
    earlier rung has seen.
    """

    name: Name
    description: str = ""
    search: Search
    space: Space
    start: list[Start] = []
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    screening: Screening = Screening()
    ladder: list[Rung] = []
    promotion: Promotion = Promotion()
    benchmarks: list[OwnBenchmark] = []

    @field_validator("benchmarks")
    @classmethod
    def _own_names(cls, own: list[OwnBenchmark]) -> list[OwnBenchmark]:
        unique([each.name for each in own])
        return own

    @model_validator(mode="after")
    def _benchmarks_are_known(self) -> Self:
        own = {each.name: each.hidden for each in self.benchmarks}
        hidden = own | {each.name: each.hidden for each in benchmarks().values()}
        for key, names in (
            ("search.benchmarks", self.search.benchmarks),
            ("promotion.benchmarks", self.promotion.benchmarks or []),
        ):
            for name in names:
                if name not in hidden:
                    raise ValueError(f"{key} must be among {', '.join(hidden)} but got {name!r}")
        for name in self.search.benchmarks:
            if hidden[name]:
                raise ValueError(
                    f"search.benchmarks must not name {name}: it is hidden, for evaluations only"
                )
        return self

    @model_validator(mode="after")
    def _the_ladder_narrows(self) -> Self:
        keeps = [("search.keep", self.search.keep)]
        keeps += [(f"ladder[{i}].keep", rung.keep) for i, rung in enumerate(self.ladder)]
        keeps.append(("promotion.top", self.promotion.top))
        for (above, many), (below, few) in pairwise(keeps):
            if few > many:
                raise ValueError(f"{below} must be at most {above} ({many}) but got {few}")
        return self

    @property
    def evaluated_on(self) -> list[str]:
        """The benchmarks of a promotion: the search's, unless the definition names others."""
        return self.promotion.benchmarks or self.search.benchmarks

    def own_benchmarks(self, names: Iterable[str]) -> list[OwnBenchmark]:
        """Those of these benchmarks that the definition brings along."""
        wanted = set(names)
        return [each for each in self.benchmarks if each.name in wanted]

    @property
    def rungs(self) -> list[Rung]:
        """Every rung, the search first."""
        first = Rung(epochs=self.search.epochs, seeds=self.search.seeds, keep=self.search.keep)
        return [first, *self.ladder]

    def seeds(self, rung: int) -> list[int]:
        """The seeds on which candidates are trained at a rung, the search being rung 0."""
        first = FIRST_SEARCH_SEED + 1000 * rung
        return list(range(first, first + self.rungs[rung].seeds))

    def control_seeds(self, rung: int) -> list[int]:
        """The seeds of a rung's controls: the candidates' own, and more up to the number asked."""
        first = FIRST_SEARCH_SEED + 1000 * rung
        return list(range(first, first + max(self.search.controls, self.rungs[rung].seeds)))

    def baseline_seeds(self) -> list[int]:
        """Seeds for the cross-entropy trial: on its controls' it would be them, bit for bit."""
        first = self.control_seeds(0)[-1] + 1
        return list(range(first, first + self.search.seeds))

    def differences(self, other: StudyDefinition) -> list[str]:
        """The keys that differ, each as "key: mine -> other's"."""
        mine, theirs = _flat(self.model_dump()), _flat(other.model_dump())
        return [
            f"{key}: {mine.get(key)!r} -> {theirs.get(key)!r}"
            for key in [*mine, *(key for key in theirs if key not in mine)]
            if mine.get(key) != theirs.get(key)
        ]


def check_evaluation_seeds(seeds: list[int]) -> list[int]:
    """Evaluations use their own seeds, so that no search has chosen a loss by them.

    Raises:
        ValueError: a seed is given twice, is negative, or belongs to the searches.
    """
    for seed in seeds:
        if not 0 <= seed < FIRST_SEARCH_SEED:
            raise ValueError(
                f"seeds must lie in [0, {FIRST_SEARCH_SEED - 1}], later ones belong to searches, "
                f"but got {seed}"
            )
    return unique(seeds)


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {
            k: v for key, sub in tree.items() for k, v in _flat(sub, f"{prefix}{key}.").items()
        }
    return {prefix.rstrip("."): tree}
