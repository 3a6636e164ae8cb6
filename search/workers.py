"""Worker processes: each trains one job at a time and talks to its coordinator over a pipe.

A worker has its own data set and its share of the threads, and serves job after job, so that no
trial pays for the start of a process. It ends when its pipe closes: the operating system closes
it however the coordinator dies.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait

from search.executors import Event, Failed, Job, Place, Reported, perform, resolve
from training import Benchmark

PATIENCE = 1.0
"""Seconds in which a worker may write its checkpoint after being told to stop."""

_Message = tuple[Job, int] | str
"""A job and the CPU threads that it may use; or "device", or "stop"."""


class Workers:
    """As many jobs at once as there are worker processes.

    Where memory runs out beside other workers, the one that asked for too much is given up: its
    process ends, which frees what it held of the device. The last one stays.
    """

    def __init__(self, place: Place, count: int) -> None:
        self._place = place
        self._workers: list[_Worker] = []
        self._device: str | None = None
        self.resize(count)

    def resize(self, count: int) -> None:
        """Start workers or end some, none of them at work, until there are so many.

        Those that stay keep what they have loaded. Each has an equal share of the threads, which
        it keeps when another is given up: how a run is rounded must not depend on its neighbours.
        """
        self._threads = max(1, (os.cpu_count() or 1) // count)
        while len(self._workers) > count:
            self._workers.pop().kill()
        while len(self._workers) < count:
            self._workers.append(_Worker(self._place))

    @property
    def device(self) -> str:
        """See ``Executor``: a worker says it, so that this process need not load torch."""
        if self._device is None:
            self._device = self._workers[0].device()
        return self._device

    def benchmark(self, name: str) -> Benchmark:
        """See ``Executor``."""
        return self._place.benchmark(name)

    @property
    def free(self) -> int:
        """See ``Executor``."""
        return sum(worker.job is None for worker in self._workers)

    @property
    def busy(self) -> bool:
        """See ``Executor``."""
        return any(worker.job is not None for worker in self._workers)

    def start(self, job: Job) -> None:
        """See ``Executor``."""
        worker = next(worker for worker in self._workers if worker.job is None)
        worker.start(job, self._threads, is_alone=len(self._workers) == 1)

    def stop(self, key: str) -> None:
        """See ``Executor``; the slot is free once the worker has said so."""
        for worker in self._workers:
            if worker.job is not None and worker.job.key == key:
                worker.stop()

    def wait(self, timeout: float) -> Sequence[Event]:
        """See ``Executor``."""
        ready = wait([worker.pipe for worker in self._workers if not worker.pipe.closed], timeout)
        return [
            self._judge(worker, event)
            for worker in list(self._workers)
            if worker.pipe in ready
            for event in worker.receive()
        ]

    def _judge(self, worker: _Worker, event: Event) -> Event:
        """Give a worker up that found no memory beside others."""
        if worker.is_alone or not isinstance(event, Failed) or event.kind != "out_of_memory":
            return event
        if len(self._workers) > 1:
            self._workers.remove(worker)
            worker.kill()
        left = len(self._workers)
        reason = f"memory ran out beside other runs: {left} at once from now on, and one more try"
        return replace(event, kind="no_room", reason=reason)

    def close(self) -> None:
        """See ``Executor``."""
        for worker in self._workers:
            worker.stop()
        deadline = time.monotonic() + PATIENCE
        while self.busy and (left := deadline - time.monotonic()) > 0:
            self.wait(left)
        for worker in self._workers:
            worker.kill()


class _Worker:
    """The coordinator's end of one worker process, started anew for the next job when it died."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._spawn()

    def _spawn(self) -> None:
        self.job: Job | None = None
        self.stopping = False
        self.is_alone = True
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self._place), daemon=True)
        with _without_interrupts():
            self.process.start()
        theirs.close()  # so that the pipe breaks when the worker dies

    def device(self) -> str:
        self.pipe.send("device")
        return str(self.pipe.recv())

    def start(self, job: Job, threads: int, *, is_alone: bool) -> None:
        if self.pipe.closed:
            self._spawn()
        self.job, self.stopping, self.is_alone = job, False, is_alone
        self._tell((job, threads))

    def stop(self) -> None:
        if self.job is not None and not self.stopping:
            self.stopping = True
            self._tell("stop")

    def receive(self) -> Iterator[Event]:
        """The next event, if it is not of a job that was stopped."""
        try:
            event: Event | None = self.pipe.recv()
        except (EOFError, OSError):
            yield from self._died()
            return
        if event is not None and not self.stopping:
            yield event
        if not isinstance(event, Reported):  # the job is over, or was stopped
            self.job = None

    def _died(self) -> Iterator[Event]:
        self.process.join()
        if self.job is not None and not self.stopping:
            reason = f"the worker process ended with status {self.process.exitcode}"
            yield Failed(self.job.key, "worker_died", reason)
        self.pipe.close()
        self.job = None

    def _tell(self, message: _Message) -> None:
        with suppress(OSError):  # it died: receive() will see that
            self.pipe.send(message)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    # A terminal sends Ctrl-C to every process; a child started while it is ignored never
    # sees it, not even while it imports. The coordinator alone decides what happens then.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(pipe: Connection, place: Place) -> None:
    """The worker process: trains what it is sent until its pipe breaks."""
    inbox: queue.SimpleQueue[_Message] = queue.SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(pipe, inbox, stop), daemon=True).start()
    place = resolve(place)
    while True:
        message = inbox.get()
        if isinstance(message, str):
            pipe.send(place.kind)
            continue
        job, threads = message
        stop.clear()
        events = perform(job, replace(place, threads=threads))
        for event in events:
            if stop.is_set():
                events.close()
                pipe.send(None)
                break
            pipe.send(event)


def _listen(pipe: Connection, inbox: queue.SimpleQueue[_Message], stop: threading.Event) -> None:
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            os._exit(1)  # the coordinator is gone: whatever is at work has its checkpoint
        if message == "stop":
            stop.set()
        else:
            inbox.put(message)
