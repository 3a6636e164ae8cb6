"""Where runs happen: in this process or in worker processes, behind one protocol.

An executor trains and nothing else: it knows no database and no study. Another one (a cluster,
say) is a class with the methods of ``Executor``.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from losses import AnyLoss, CustomLoss, LossError
from losses.userfile import is_out_of_memory
from training import Benchmark, EpochReport, benchmark
from training.precision import Precision, usual

FailureKind = Literal[
    "diverged", "out_of_memory", "no_room", "worker_died", "data", "loss", "error"
]
"""How a job fails. "no_room": memory ran out beside other jobs, of which fewer are trained at once
from now on; the reason says so, and the job deserves another try."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """One run to train.

    Attributes:
        split: "search" scores on validation images, "evaluation" opens the test split.
        subset: train on so many images only: a dry run.
        checkpoint: where the run keeps its state, and where it goes on from.
    """

    benchmark: str
    loss: AnyLoss
    seed: int
    epochs: int
    split: Literal["search", "evaluation"] = "search"
    subset: int | None = None
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Job:
    """Runs that belong together: the groups one after another, a group's runs epoch by epoch."""

    key: str
    groups: tuple[tuple[RunRequest, ...], ...]


@dataclass(frozen=True)
class Reported:
    """A run of a job ended an epoch."""

    job: str
    request: RunRequest
    report: EpochReport


@dataclass(frozen=True)
class Ended:
    """Every run of a job is complete."""

    job: str


@dataclass(frozen=True)
class Failed:
    """A job ended early, by itself."""

    job: str
    kind: FailureKind
    reason: str
    request: RunRequest | None = None


Event = Reported | Ended | Failed


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a process trains.

    Attributes:
        device: "auto", "cpu" or "cuda".
        precision: of the networks' arithmetic; None for the device's usual one.
        folder: of the packed data sets; None for the usual one.
        threads: CPU threads that it may use; None for as many as torch thinks best.
        own: benchmarks of the user's own.
    """

    device: str
    precision: Precision | None = None
    folder: Path | None = None
    threads: int | None = None
    own: tuple[Benchmark, ...] = ()

    @property
    def kind(self) -> str:
        """What runs on which may be compared: "cpu", "cuda", or "cuda-bf16" and its like."""
        device = self.device.split(":")[0]
        precision = self.precision or usual(device)
        return device if precision == "fp32" else f"{device}-{precision}"

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark of this name."""
        return benchmark(name, self.own)


class Executor(Protocol):
    """Trains jobs, as many at once as it has slots."""

    @property
    def device(self) -> str:
        """The kind of device that runs happen on; see ``Place.kind``."""

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark of this name, as runs know it."""

    @property
    def free(self) -> int:
        """How many more jobs can start now."""

    @property
    def busy(self) -> bool:
        """Whether any job is at work."""

    def start(self, job: Job) -> None:
        """Start a job; there must be a free slot."""

    def stop(self, key: str) -> None:
        """End a job early; nothing more is reported of it."""

    def wait(self, timeout: float) -> Sequence[Event]:
        """What happened, in order; waits at most ``timeout`` seconds for the first event."""

    def close(self) -> None:
        """End everything within a second, with the checkpoints of what was at work."""


def resolve(place: Place) -> Place:
    """The place with its device and threads decided: "auto" is CUDA where there is any."""
    import torch

    device = place.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return replace(place, device=device, threads=place.threads or torch.get_num_threads())


def perform(job: Job, place: Place) -> Generator[Event]:
    """Train a job's runs; the last event is the job's end or its failure."""
    try:
        for group in job.groups:
            yield from _lockstep(job, group, place)
    except Exception as error:
        yield Failed(job.key, _kind(error), " ".join(str(error).split()) or repr(error))
    else:
        yield Ended(job.key)


def _lockstep(job: Job, group: tuple[RunRequest, ...], place: Place) -> Generator[Event]:
    from training.data import evaluation_data, search_data, subset
    from training.run import train

    limit_threads([place.benchmark(request.benchmark) for request in group], place)
    open_split = {"search": search_data, "evaluation": evaluation_data}
    with ExitStack() as stack:
        runs = []
        for request in group:
            protocol = place.benchmark(request.benchmark)
            data = open_split[request.split](protocol, folder=place.folder, device=place.device)
            if request.subset is not None:
                data = subset(data, request.subset, name=protocol.data)
            run = train(
                protocol,
                request.loss,
                seed=request.seed,
                epochs=request.epochs,
                data=data,
                device=place.device,
                precision=place.precision,
                checkpoint=None if _keeps_state(request.loss) else request.checkpoint,
            )
            runs.append((request, stack.enter_context(closing(run))))
        for _ in range(group[0].epochs):
            for request, run in runs:
                yield Reported(job.key, request, next(run))


def _keeps_state(loss: AnyLoss) -> bool:
    """Whether a run with this loss cannot go on from a checkpoint, and has to begin anew."""
    return isinstance(loss, CustomLoss) and loss.keeps_state


def limit_threads(protocols: Sequence[Benchmark], place: Place) -> None:
    """Let torch use as many CPU threads as there are at a place, and pay for these benchmarks."""
    import torch

    if place.threads is not None:
        pay = max(each.cpu_threads or place.threads for each in protocols)
        torch.set_num_threads(min(pay, place.threads))


def _kind(error: Exception) -> FailureKind:
    from training import DataError, Diverged

    if isinstance(error, Diverged):
        return "diverged"
    if is_out_of_memory(error):
        return "out_of_memory"
    if isinstance(error, LossError):  # a user's own file
        return "loss"
    return "data" if isinstance(error, DataError) else "error"


class InProcess:
    """One job at a time, in this process: an epoch is trained each time somebody waits."""

    def __init__(self, place: Place) -> None:
        self._place = resolve(place)
        self._job: Job | None = None
        self._events: Generator[Event] | None = None

    @property
    def device(self) -> str:
        """See ``Executor``."""
        return self._place.kind

    def benchmark(self, name: str) -> Benchmark:
        """See ``Executor``."""
        return self._place.benchmark(name)

    @property
    def free(self) -> int:
        """See ``Executor``."""
        return int(self._job is None)

    @property
    def busy(self) -> bool:
        """See ``Executor``."""
        return self._job is not None

    def start(self, job: Job) -> None:
        """See ``Executor``."""
        self._job, self._events = job, perform(job, self._place)

    def stop(self, key: str) -> None:
        """See ``Executor``."""
        if self._job is not None and self._job.key == key:
            self.close()

    def wait(self, timeout: float) -> Sequence[Event]:
        """See ``Executor``; an epoch takes as long as it takes."""
        if self._events is None:
            return []
        event = next(self._events)
        if not isinstance(event, Reported):
            self.close()
        return [event]

    def close(self) -> None:
        """See ``Executor``."""
        if self._events is not None:
            self._events.close()
        self._job = self._events = None
