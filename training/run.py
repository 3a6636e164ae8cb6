"""A run: one training of one benchmark with one loss and one seed, epoch by epoch."""

import hashlib
import math
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import asdict
from pathlib import Path

import torch

from training import checkpoint as checkpoints
from training import metrics
from training.benchmarks import Benchmark
from training.data import Data, search_data
from training.draws import derive, draw
from training.engine import borrowed
from training.fusion import pays
from training.models import build
from training.precision import PRECISIONS, Precision, usual
from training.report import EpochReport
from training.step import Loss


class TrainingError(ValueError):
    """An argument of a run that breaks a rule."""


class Diverged(ArithmeticError):  # noqa: N818 (says what happened, as StopIteration does)
    """A run whose training loss, or score, is no longer a finite number.

    Attributes:
        epoch: The epoch at whose end it was found.
    """

    def __init__(self, epoch: int, what: str) -> None:
        super().__init__(epoch, what)
        self.epoch = epoch
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} is not finite in epoch {self.epoch}"


def train(  # noqa: PLR0913 (every argument is given by name)
    benchmark: Benchmark,
    loss: Loss,
    *,
    seed: int,
    epochs: int,
    data: Data | None = None,
    device: torch.device | str = "cpu",
    precision: Precision | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 10.0,
) -> Generator[EpochReport, None, None]:
    """Train and yield a report after each epoch; whoever drives the generator may close it.

    Every random choice is made from the seed: neither does a run depend on what ran before it
    in the process, nor does it leave torch's global generators changed.

    Args:
        benchmark: What to train, and how.
        loss: Any object that fulfils the protocol; the run works with a copy of its own. If it
            has no structure, what it draws from torch's global generators is seeded, too.
        seed: At least 0.
        epochs: Length of this run; the benchmark's learning rate schedule is compressed into it.
        data: What to train on and to be scored on, on the device; None for `search_data`.
        device: "cpu", "cuda" or "cuda:1".
        precision: Of the network's arithmetic: "fp32", "bf16" (autocast), or on a GPU "tf32".
            Weights, loss and scores are float32 in each. None for bf16 on a GPU, fp32 elsewhere.
        checkpoint: A file that the run keeps itself in. It is written every `checkpoint_seconds`,
            on closing, and after the last epoch. If it holds this very run, its reports are
            yielded again and the run goes on from there; anything else in it is ignored and
            overwritten.
        checkpoint_seconds: Least time between two checkpoints, in seconds.

    Raises:
        TrainingError: An argument breaks a rule.
        DataError: The data set is missing or damaged.
        Diverged: The loss of an epoch is not finite. Raised while the generator runs.
    """
    for name, value, least in (
        ("seed", seed, 0),
        ("epochs", epochs, 1),
        ("checkpoint_seconds", checkpoint_seconds, 0),
    ):
        if not value >= least:
            raise TrainingError(f"{name} must be at least {least} but got {value}")
    device = _usable(device)
    precision = precision or usual(device.type)
    allowed = PRECISIONS if device.type == "cuda" else ("fp32", "bf16")
    if precision not in allowed:
        raise TrainingError(
            f"precision must be {' or '.join(allowed)} on {device.type} but got {precision}"
        )
    data = data or search_data(benchmark, device=device)
    if data.training.labels.device.type != device.type:
        raise TrainingError(
            f"data must be on the run's device {device} but is on {data.training.labels.device}"
        )
    run = _Run(
        benchmark, loss, seed=seed, epochs=epochs, data=data, device=device, precision=precision
    )
    return _drive(run, checkpoint, checkpoint_seconds)


def _drive(
    run: "_Run", checkpoint: Path | None, checkpoint_seconds: float
) -> Generator[EpochReport, None, None]:
    with run:
        if checkpoint:
            run.resume(checkpoint)
        yield from run.reports
        saved, saved_at = len(run.reports), time.monotonic()
        while len(run.reports) < run.epochs:
            report = run.train_epoch()
            is_last = len(run.reports) == run.epochs
            if checkpoint and (is_last or time.monotonic() - saved_at >= checkpoint_seconds):
                run.save(checkpoint)
                saved, saved_at = len(run.reports), time.monotonic()
            try:
                yield report
            except GeneratorExit:
                if checkpoint and saved < len(run.reports):
                    run.save(checkpoint)
                raise


class _Run(ExitStack):
    """A run's state between two epochs: the reports so far, and the engine that it gives back."""

    def __init__(  # noqa: PLR0913 (every argument is given by name)
        self,
        benchmark: Benchmark,
        loss: Loss,
        *,
        seed: int,
        epochs: int,
        data: Data,
        device: torch.device,
        precision: Precision,
    ) -> None:
        super().__init__()
        self.benchmark = benchmark
        self.loss = copy(loss)  # one that keeps state starts anew with every run
        self.seed = seed
        self.epochs = epochs
        self.data = data
        self.precision = precision
        self.reports: list[EpochReport] = []
        self.identity = self._identity()
        model = build(benchmark, torch.Generator().manual_seed(derive(seed, "weights")))
        steps = epochs * math.ceil(len(data.training.labels) / benchmark.batch_size)
        fuse = pays(benchmark, steps, device)
        self.engine = self.enter_context(
            borrowed(benchmark, model, device, precision=precision, fuse=fuse)
        )
        self.engine.begin(self.loss, model.state_dict())

    def train_epoch(self) -> EpochReport:
        start = time.perf_counter()
        epoch, engine, data = len(self.reports), self.engine, self.data
        # Each epoch has generators of its own, so that a checkpoint needs none.
        order = torch.Generator().manual_seed(derive(self.seed, f"order {epoch}"))
        self.engine.dropout.manual_seed(derive(self.seed, f"dropout {epoch}"))
        batches = draw(
            data.training,
            flip=self.benchmark.flip,
            batch_size=self.benchmark.batch_size,
            generator=order,
        )
        cosine = (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        engine.start_epoch(
            learning_rate=self.benchmark.learning_rate * cosine,
            values=self.loss.values(epoch, self.epochs, self.benchmark.num_classes),
        )
        with self._seeded(epoch):
            for index, draws in enumerate(batches):
                engine.step(data.training, draws, measure=index == 0)
        logits_NK, labels_N = engine.logits(data.scoring), data.scoring.labels
        results = (
            engine.loss_sum,
            engine.gradient_ratio,
            metrics.cross_entropy(logits_NK, labels_N),
            metrics.accuracy(logits_NK, labels_N),
            metrics.calibration_error(logits_NK, labels_N),
        )
        numbers = torch.stack(results).tolist()
        loss_sum, ratio, cross_entropy, accuracy, calibration_error = numbers
        for what, value in (("training loss", loss_sum), ("cross-entropy", cross_entropy)):
            if not math.isfinite(value):
                raise Diverged(epoch, what)
        report = EpochReport(
            epoch=epoch,
            train_loss=loss_sum / len(data.training.labels),
            accuracy=accuracy,
            cross_entropy=cross_entropy,
            calibration_error=calibration_error,
            gradient_ratio=ratio if math.isfinite(ratio) else None,
            seconds=time.perf_counter() - start,
        )
        self.reports.append(report)
        return report

    @contextmanager
    def _seeded(self, epoch: int) -> Iterator[None]:
        """Seed torch's global generators, from which code of the user's own may draw."""
        if self.loss.structure is not None and not self.benchmark.has_own_architecture:
            yield
            return
        device = self.engine.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(derive(self.seed, f"own code {epoch}"))
            yield

    def _identity(self) -> str:
        """A digest of everything that decides the run's results, but the machine and threads."""
        structure = self.loss.structure
        values = [
            self.loss.values(epoch, self.epochs, self.benchmark.num_classes)
            for epoch in range(self.epochs)
        ]
        decisive = (
            self.benchmark.digest,
            self.data.kind,
            self.data.digest,
            self.seed,
            self.epochs,
            repr(self.loss) if structure is None else repr(structure),
            values,
            *([self.precision] if self.precision != "fp32" else []),
        )
        return hashlib.sha256(repr(decisive).encode()).hexdigest()

    def save(self, path: Path) -> None:
        facts = {"identity": self.identity, "reports": [asdict(report) for report in self.reports]}
        checkpoints.write(path, self.engine.state(), facts)

    def resume(self, path: Path) -> None:
        stored = checkpoints.read(path)
        if stored is None or stored[1].get("identity") != self.identity:
            return
        tensors, facts = stored
        with torch.no_grad():
            for name, tensor in self.engine.state().items():
                tensor.copy_(tensors[name])
        self.reports = [EpochReport(**report) for report in facts["reports"]]


def _usable(device: torch.device | str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise TrainingError(f"device must be one that torch finds but got {device}") from error
