"""The benchmarks that a command names: LosScout's, and the user's own with their definitions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.executors import Place
from search.executors import resolve as resolved
from studies import reading
from studies.definition import StudyDefinition
from studies.errors import StudyError
from training import BenchmarkError, benchmark

if TYPE_CHECKING:
    from studies.definition import OwnBenchmark
    from training.precision import Precision


@dataclass(frozen=True)
class Named:
    """Benchmarks by name.

    Attributes:
        own: the user's among them, each with the folder of its definition.
    """

    names: tuple[str, ...]
    own: tuple[tuple[OwnBenchmark, Path], ...] = ()

    def place(
        self, *, device: str, data: Path | None, precision: Precision | None, images: bool = True
    ) -> Place:
        """Where they are to be trained: their images are there, and the user's code is tried.

        Without ``images`` those of LosScout's own benchmarks may be missing.

        Raises:
            BenchmarkError: a benchmark of the user's own breaks a rule, or the device has no such
                precision.
            DataError: a data set is missing or damaged.
        """
        from search.packing import bar
        from training.custom import resolve
        from training.data import data_folder
        from training.packed import class_names

        folder = data_folder(data)
        own = []
        for table, beside in self.own:
            with bar(f"reading {table.data}") as progress:
                own.append(resolve(table.given, beside=beside, folder=folder, progress=progress))
        place = Place(device=device, precision=precision, folder=data, own=tuple(own))
        if precision == "tf32" and resolved(place).device == "cpu":
            raise BenchmarkError("--precision must be fp32 or bf16 on the CPU but got tf32")
        for name in self.names if images else ():
            if (data_set := place.benchmark(name).data) != "digits":
                class_names(data_set, folder)
        return place


def of_study(definition: StudyDefinition, study: str, names: Iterable[str]) -> Named:
    """Benchmarks that a study names, or is asked for.

    Raises:
        BenchmarkError: there is none of that name.
    """
    names = tuple(dict.fromkeys(names))
    tables = definition.own_benchmarks(names)
    for name in set(names) - {table.name for table in tables}:
        benchmark(name)
    return Named(names, tuple((table, Path(study).parent) for table in tables))


def of_options(options: Iterable[str]) -> Named:
    """Benchmarks from a command's options: names, or STUDY.toml:NAME for one of a definition.

    Raises:
        BenchmarkError: there is none of that name.
        StudyError: the definition cannot be read, or has no such benchmark.
    """
    names: list[str] = []
    own: list[tuple[OwnBenchmark, Path]] = []
    for option in dict.fromkeys(options):
        study, colon, name = option.rpartition(":")
        names.append(name if colon else benchmark(option).name)
        if colon:
            definition, _ = reading.read(study)
            tables = definition.own_benchmarks([name])
            if not tables:
                raise StudyError(f"{study} must hold a [[benchmarks]] table named {name!r}")
            own.append((tables[0], Path(study).parent))
    if len(set(names)) < len(names):
        raise StudyError(f"--benchmark must name each benchmark once but got {', '.join(names)}")
    return Named(tuple(names), tuple(own))
