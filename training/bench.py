"""How fast this machine trains: the engine and the yardstick, in turn, on the same images."""

import math
import os
import resource
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch

from training.apart import yardstick
from training.benchmarks import Benchmark
from training.data import Data, Part, search_data, subset
from training.packed import DataError
from training.precision import Precision, usual
from training.report import EpochReport
from training.run import train
from training.step import Loss

BATCHES = {"cpu": 10, "cuda": 100}
"""Steps in an epoch of the measurement: seconds of work, so that starting it does not count."""

SCORED = 9
"""One image is scored for so many that are trained on: 5,000 beside 45,000, as in a search."""

IMAGES = {"digits": 800, "fashion_mnist": 54_000}
"""Training images of a search, where they are not there to be counted; else 45,000."""

TRIAL_EPOCHS = 10

Run = Generator[EpochReport, None, None]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of one benchmark.

    Attributes:
        images: "real", or "synthetic" where the data set is not there.
        precision: Of the engine; the yardstick's is torch's own.
        threads: CPU threads of each.
        loader_workers: Of the yardstick: the number with which it was fastest.
        engine: Images per second, trained on and every ninth scored, one for each round.
        yardstick: The same of the yardstick.
        start: Seconds that the first epoch took beyond the others: compiling, recording.
        gap: Seconds between the end of one run and the first step of the next.
        memory: The engine's, in bytes, at the peak: of the device's, or of the process on a CPU.
        full_images: Training images in an epoch of a search.
        epochs: Of a full run.
    """

    benchmark: str
    device: str
    precision: Precision
    images: Literal["real", "synthetic"]
    threads: int
    batch_size: int
    loader_workers: int
    engine: Sequence[float]
    yardstick: Sequence[float]
    start: float
    gap: float
    memory: int
    full_images: int
    epochs: int

    @property
    def ratios(self) -> list[float]:
        """How many times as fast as the yardstick the engine was, in each round."""
        return [ours / theirs for ours, theirs in zip(self.engine, self.yardstick, strict=True)]

    @property
    def full_run(self) -> float:
        """Seconds that a full run would take."""
        return self.start + self.epochs * self.full_images / median(self.engine)

    @property
    def trials_per_hour(self) -> float:
        """Search trials of ten epochs and one seed, one after another."""
        return 3600 / (self.gap + TRIAL_EPOCHS * self.full_images / median(self.engine))

    def to_dict(self) -> dict[str, Any]:
        """Every number, ready for JSON."""
        return asdict(self) | {
            "steps_per_second": median(self.engine) / self.batch_size,
            "ratio": median(self.ratios),
            "ratio_least": min(self.ratios),
            "ratio_most": max(self.ratios),
            "full_run_seconds": self.full_run,
            "trials_per_hour": self.trials_per_hour,
        }


def measure(
    benchmark: Benchmark,
    loss: Loss,
    *,
    device: torch.device | str = "cpu",
    precision: Precision | None = None,
    folder: Path | None = None,
    rounds: int = 5,
) -> Measured:
    """Train engine and yardstick in turn, an epoch of a few images each.

    Args:
        benchmark: What to train.
        loss: Plain cross-entropy, say.
        device: Where both train.
        precision: Of the engine; None for the device's usual one.
        folder: Where the packed data sets lie.
        rounds: How often each is measured.

    Raises:
        BenchmarkError: An architecture of the user's own is broken.
        TrainingError: The device has no such precision.
    """
    device = torch.device(device)
    chosen = precision or usual(device.type)
    whole, images, full_images = _images(benchmark, folder, device)
    data = _few(benchmark, whole, BATCHES[device.type] * benchmark.batch_size)
    count = len(data.training.labels)
    # As many epochs as a full run has: what pays there is what is measured.
    options: dict[str, Any] = {
        "benchmark": benchmark,
        "loss": loss,
        "seed": 0,
        "epochs": benchmark.epochs,
        "device": device,
    }

    def engine() -> Run:
        return train(**options, data=data, precision=chosen)

    speeds: dict[str, list[float]] = {"engine": [], "yardstick": []}
    with closing(engine()) as run, yardstick(**options, data=_on_cpu(data)) as yardstick_epoch:
        began = time.perf_counter()
        next(run)
        first = time.perf_counter() - began
        seconds = {workers: _second(yardstick_epoch, workers) for workers in _loaders()}
        workers = min(seconds, key=seconds.__getitem__)
        for _ in range(rounds):
            speeds["engine"].append(count / next(run).seconds)
            speeds["yardstick"].append(count / yardstick_epoch(workers))
    return Measured(
        benchmark=benchmark.name,
        device=device.type,
        precision=chosen,
        images=images,
        threads=torch.get_num_threads(),
        batch_size=benchmark.batch_size,
        loader_workers=workers,
        **speeds,
        start=max(0.0, first - count / median(speeds["engine"])),
        gap=_gap(engine),
        memory=_peak(device),
        full_images=full_images,
        epochs=benchmark.epochs,
    )


def _images(
    benchmark: Benchmark, folder: Path | None, device: torch.device
) -> tuple[Data, Literal["real", "synthetic"], int]:
    """What there is to train on, and how many images an epoch of a search has."""
    try:
        data = search_data(benchmark, folder=folder, device=device)
    except DataError:
        return _synthetic(benchmark, device), "synthetic", IMAGES.get(benchmark.data, 45_000)
    return data, "real", len(data.training.labels)


def _gap(engine: Any) -> float:
    """Seconds until a run takes its first step in a process that has had one like it."""
    began = time.perf_counter()
    with closing(engine()) as run:
        report = next(run)
    return float(time.perf_counter() - began - report.seconds)


def _second(epoch: Callable[[int], float], workers: int) -> float:
    """Seconds of an epoch that is not the first."""
    epoch(workers)
    return epoch(workers)


def _loaders() -> list[int]:
    """Numbers of loader workers to try: 0, 1, 2, 4 and so on, up to the number of cores."""
    cores = os.cpu_count() or 1
    return [0, *(2**power for power in range(int(math.log2(min(cores, 16))) + 1))]


def _few(benchmark: Benchmark, whole: Data, count: int) -> Data:
    count = min(count, len(whole.training.labels))
    count -= count % benchmark.batch_size if count > benchmark.batch_size else 0
    data = subset(whole, count, name="bench")
    scored = max(1, count // SCORED)
    part = data.scoring
    few = replace(part, images=part.images[:scored], labels=part.labels[:scored])
    return replace(data, scoring=few)


def _on_cpu(data: Data) -> Data:
    training, scoring = (
        replace(part, images=part.images.cpu(), labels=part.labels.cpu())
        for part in (data.training, data.scoring)
    )
    return replace(data, training=training, scoring=scoring)


def _synthetic(benchmark: Benchmark, device: torch.device) -> Data:
    """Noise of the right shape."""
    generator = torch.Generator().manual_seed(0)
    count = BATCHES[device.type] * benchmark.batch_size
    side, padding = benchmark.resize or 32, benchmark.crop_padding

    def part(size: int, padding: int) -> Part:
        shape = (size, side + 2 * padding, side + 2 * padding, len(benchmark.mean))
        images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        labels = torch.arange(size) % benchmark.num_classes
        return Part(images=images.to(device), labels=labels.to(device), padding=padding)

    return Data(
        kind="search",
        training=part(max(count, 2 * benchmark.num_classes), padding),
        scoring=part(max(count // SCORED, 1), 0),
        digest="synthetic",
    )


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
