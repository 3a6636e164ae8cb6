"""How many runs at once pay on a device: measured, for ``--workers auto``."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace

from search.executors import Failed, Job, Reported, RunRequest
from search.workers import Workers
from studies.standings import CROSS_ENTROPY

ON_CUDA = 8
"""The most workers tried on a CUDA device: each holds a context and images of its own there."""

PAYS = 1.05
"""How much faster than the width before it a wider one must be."""

SECONDS = 2.0
"""How long the epochs that are timed should take."""

BATCHES = 8
"""Of training images in an epoch that is timed."""


def settle(workers: Workers, benchmark: str) -> str:
    """Measure how many workers pay, and keep so many.

    What is timed are runs of cross-entropy on some of the search's images; none of it is kept.

    Args:
        workers: One, not at work; it stays among those that are kept.
        benchmark: Which to train, by name.

    Returns:
        What was measured and chosen, as one line.
    """
    most = ON_CUDA if workers.device.startswith("cuda") else os.cpu_count() or 1
    images = BATCHES * workers.benchmark(benchmark).batch_size
    request = RunRequest(benchmark=benchmark, loss=CROSS_ENTROPY, seed=0, epochs=2, subset=images)
    if isinstance(failed := _train(workers, request), Failed) and failed.kind == "data":
        request = replace(request, subset=None)  # there are fewer images than that

    def speed_with(width: int) -> float | Failed:
        workers.resize(width)
        return _speed(workers, request)

    chosen, told = widen(speed_with, most)
    workers.resize(chosen)
    return f"workers: {chosen} (speed {told})"


def widen(speed_with: Callable[[int], float | Failed], most: int) -> tuple[int, str]:
    """Take ever more workers, as long as each step makes all runs together faster.

    Args:
        speed_with: Measures a width: runs a second, in any unit, or why they fail.
        most: The widest that may be tried.

    Returns:
        The width that paid last, and what was measured, in units of one worker's speed.
    """
    chosen, one, best = 1, 0.0, 0.0
    told = []
    for width in _widths(most):
        speed = speed_with(width)
        if isinstance(speed, Failed):
            told.append(f"with {width}: {speed.kind.replace('_', ' ')}")
            break
        one = one or speed
        told.append(f"with {width}: {speed / one:.2f}")
        if speed < PAYS * best:
            break
        chosen, best = width, speed
    return chosen, ", ".join(told)


def _widths(most: int) -> Iterator[int]:
    width = 0
    while width < most:
        width = min(most, width + max(1, width // 2))
        yield width


def _speed(workers: Workers, request: RunRequest) -> float | Failed:
    """Epochs a second of as many runs as there are workers."""
    warm = _train(workers, request)
    if isinstance(warm, Failed):
        return warm
    pace = max(seconds[-1] for seconds in warm)
    timed = min(max(2, math.ceil(SECONDS / pace)), 100)
    # They start together: none is timed beside one that still loads torch or its data.
    runs = _train(workers, replace(request, epochs=1 + timed))
    if isinstance(runs, Failed):
        return runs
    return sum(timed / sum(seconds[1:]) for seconds in runs)


def _train(workers: Workers, request: RunRequest) -> list[list[float]] | Failed:
    """Train the same run in every worker at once: the seconds of each one's epochs."""
    runs: dict[str, list[float]] = {f"width-{number}": [] for number in range(workers.free)}
    failed = None
    for key in runs:
        workers.start(Job(key, ((request,),)))
    while workers.busy:
        for event in workers.wait(timeout=1.0):
            if isinstance(event, Reported):
                runs[event.job].append(event.report.seconds)
            elif isinstance(event, Failed) and failed is None:
                failed = event
                for key in runs:
                    workers.stop(key)
    return failed or list(runs.values())
