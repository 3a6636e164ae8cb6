"""An executor that answers with recorded curves, at once or at a stated pace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from search.executors import Ended, Event, Failed, Job, Reported, RunRequest
from training import Benchmark, EpochReport, benchmark

Source = Callable[[RunRequest], Sequence[EpochReport]]
"""The recorded reports of a run that is asked for."""


@dataclass(kw_only=True)
class _Slot:
    """What stands for one worker: its job, and when (monotonic seconds) it is heard of next."""

    job: Job | None = None
    events: Iterator[Event] = field(default_factory=lambda: iter(()))
    following: Event | None = None
    due: float = 0.0
    stopping: bool = False
    started_before: bool = False


class Replay:
    """Stands in for worker processes.

    Args:
        source: where reports come from.
        slots: jobs at once.
        pace: seconds of waiting for each second that was recorded; 0 answers at once, in turn.

    Attributes:
        waits: how long (seconds) each job's slot had stood free when the job started, those
            without the first of each slot.
        trained: recorded seconds that were replayed.
    """

    device = "cpu"

    def __init__(self, source: Source, *, slots: int = 1, pace: float = 0.0) -> None:
        self._source = source
        self._slots = [_Slot() for _ in range(slots)]
        self._pace = pace
        self.waits: list[float] = []
        self.trained = 0.0

    def benchmark(self, name: str) -> Benchmark:
        """See ``Executor``."""
        return benchmark(name)

    @property
    def free(self) -> int:
        """See ``Executor``."""
        return sum(slot.job is None for slot in self._slots)

    @property
    def busy(self) -> bool:
        """See ``Executor``."""
        return self.free < len(self._slots)

    def start(self, job: Job) -> None:
        """See ``Executor``."""
        slot = min((s for s in self._slots if s.job is None), key=lambda s: s.due)
        now = time.monotonic()
        if slot.started_before:
            self.waits.append(now - slot.due)
        slot.job, slot.stopping, slot.started_before = job, False, True
        slot.events, slot.due = self._perform(job), now
        self._advance(slot)

    def stop(self, key: str) -> None:
        """See ``Executor``; as with a worker, the slot is free after the epoch at work."""
        for slot in self._slots:
            if slot.job is not None and slot.job.key == key:
                slot.stopping = True

    def wait(self, timeout: float) -> Sequence[Event]:
        """See ``Executor``."""
        at_work = [slot for slot in self._slots if slot.job is not None]
        if not at_work:
            return []
        slot = min(at_work, key=lambda slot: slot.due)
        left = slot.due - time.monotonic()
        if left > 0:
            time.sleep(min(left, timeout))
            if left > timeout:
                return []
        if slot.stopping:
            slot.job = None
            return []
        event = slot.following
        if event is None:
            raise RuntimeError(f"job {slot.job} has no event left")
        if isinstance(event, Reported):
            self._advance(slot)
        else:
            slot.job = None
        return [event]

    def close(self) -> None:
        """See ``Executor``."""
        for slot in self._slots:
            slot.job = None

    def _advance(self, slot: _Slot) -> None:
        slot.following = next(slot.events)
        if isinstance(slot.following, Reported):
            self.trained += slot.following.report.seconds
            slot.due += self._pace * slot.following.report.seconds

    def _perform(self, job: Job) -> Iterator[Event]:
        for group in job.groups:
            curves = [self._source(request) for request in group]
            for reports in zip(*curves, strict=False):
                for request, report in zip(group, reports, strict=True):
                    yield Reported(job.key, request, report)
            for request, curve in zip(group, curves, strict=True):
                if len(curve) < request.epochs:
                    reason = f"diverged in epoch {len(curve)} when it was recorded"
                    yield Failed(job.key, "diverged", reason, request)
                    return
        yield Ended(job.key)
