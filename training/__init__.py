"""How a network is trained: fixed benchmarks, resident data, one fast engine for any loss.

Importing this package imports no torch: the names that need it are fetched on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from training.benchmarks import Benchmark, BenchmarkError, benchmark, benchmarks
from training.report import EpochReport

if TYPE_CHECKING:
    from training.data import Data, evaluation_data, search_data
    from training.packed import DataError
    from training.run import Diverged, TrainingError, train
    from training.step import Loss

__all__ = [
    "Benchmark",
    "BenchmarkError",
    "Data",
    "DataError",
    "Diverged",
    "EpochReport",
    "Loss",
    "TrainingError",
    "benchmark",
    "benchmarks",
    "evaluation_data",
    "search_data",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'training' has no attribute {name!r}")
    homes = (import_module(f"training.{module}") for module in ("packed", "data", "step", "run"))
    return next(vars(home)[name] for home in homes if name in vars(home))
