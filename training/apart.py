"""The yardstick in a process of its own: it must not profit by what the engine does to one."""

import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, set_start_method
from multiprocessing.connection import Connection
from typing import Any

import torch

from training import reference
from training.report import EpochReport


@contextmanager
def yardstick(**options: Any) -> Iterator[Callable[[int], float]]:
    """Runs of `reference.train` that end with the context.

    Args:
        options: Of `reference.train`, but for the workers; the data on the CPU, to travel.

    Yields:
        A function that trains the next epoch of the run with so many workers: its seconds.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, options, torch.get_num_threads()))
    process.start()
    theirs.close()  # so that the pipe breaks when the process dies

    def epoch(workers: int) -> float:
        try:
            ours.send(workers)
            answer: float | Exception = ours.recv()
        except (EOFError, OSError) as error:
            process.join()
            status = process.exitcode
            raise ChildProcessError(
                f"the yardstick's process ended with status {status}"
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    try:
        yield epoch
    finally:
        process.kill()
        process.join()
        ours.close()


def _serve(pipe: Connection, options: dict[str, Any], threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the other process, which ends this
    set_start_method(None, force=True)  # loader workers start as anybody's: not as this did
    torch.set_num_threads(threads)
    runs: dict[int, Generator[EpochReport]] = {}
    while True:
        try:
            workers = pipe.recv()
        except EOFError:
            return
        try:
            if workers not in runs:
                runs[workers] = reference.train(**options, workers=workers)
            pipe.send(next(runs[workers]).seconds)
        except Exception as error:
            pipe.send(error)
