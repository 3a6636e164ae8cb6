"""One contract for every executor, and what is special about processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from losses import AnyLoss, CustomLoss, LossSpec, published
from search.executors import Ended, Event, Executor, Failed, InProcess, Job, Place, Reported
from search.executors import RunRequest as Request
from search.workers import Workers
from training import benchmark
from training.run import train

PLACE = Place(device="cpu")
EXECUTORS = {"in process": lambda: InProcess(PLACE), "workers": lambda: Workers(PLACE, 2)}


@pytest.fixture(params=EXECUTORS, scope="module")
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made: Executor = EXECUTORS[request.param]()
    yield made
    made.close()


def test_what_may_be_compared_is_named_by_device_and_precision() -> None:
    kinds = {
        ("cpu", None): "cpu",
        ("cpu", "fp32"): "cpu",
        ("cpu", "bf16"): "cpu-bf16",
        ("cuda", None): "cuda-bf16",
        ("cuda", "bf16"): "cuda-bf16",
        ("cuda", "tf32"): "cuda-tf32",
        ("cuda", "fp32"): "cuda",
    }
    for (device, precision), kind in kinds.items():
        assert Place(device=device, precision=precision).kind == kind


NOISY = """
def compute_loss(logits, targets, config):
    return F.cross_entropy(F.dropout(logits + torch.randn(10), 0.2), targets)
"""


def run(seed: int, loss: AnyLoss | None = None, epochs: int = 2, **more) -> Request:
    loss = loss or published()["cross_entropy"]
    return Request(benchmark="resnet8-digits", loss=loss, seed=seed, epochs=epochs, **more)


def until(executor: Executor, enough: Callable[[list[Event]], bool]) -> list[Event]:
    events: list[Event] = []
    deadline = time.monotonic() + 120
    while not enough(events):
        assert time.monotonic() < deadline, events
        events += executor.wait(timeout=1)
    return events


def over(events: list[Event]) -> bool:
    return any(isinstance(event, Ended | Failed) for event in events)


def test_a_job_reports_what_training_alone_reports(executor):
    assert executor.device == "cpu"
    executor.start(Job("job", ((run(1),), (run(2),))))
    events = until(executor, over)
    alone = [
        (seed, report.epoch, report.accuracy)
        for seed in (1, 2)
        for report in train(benchmark("resnet8-digits"), run(1).loss, seed=seed, epochs=2)
    ]
    reported = [e for e in events if isinstance(e, Reported)]
    assert [(e.request.seed, e.report.epoch, e.report.accuracy) for e in reported] == alone
    assert events[-1] == Ended("job")
    assert not executor.busy


def test_a_run_reports_the_same_to_the_last_bit_whatever_runs_beside_it():
    loss = CustomLoss("noisy.py", NOISY)
    workers = Workers(PLACE, 2)
    try:
        seen = []
        for beside in (None, run(2, epochs=50), run(1, loss, epochs=50)):
            if beside:
                workers.start(Job("beside", ((beside,),)))
                until(workers, lambda events: len(events) > 0)
            workers.start(Job("watched", ((run(1), run(1, loss)),)))
            events = until(workers, lambda events: Ended("watched") in events)
            seen.append(
                [
                    (event.request.loss.id, replace(event.report, seconds=0.0))
                    for event in events
                    if isinstance(event, Reported) and event.job == "watched"
                ]
            )
            workers.stop("beside")
            while workers.busy:
                workers.wait(timeout=1)
    finally:
        workers.close()
    assert len(seen[0]) == 4
    assert seen[0] == seen[1] == seen[2]


def test_a_users_own_file_starts_anew_with_every_run(executor):
    text = """
offset, calls = torch.rand(10), 0
def compute_loss(logits, targets, config):
    global calls
    calls += 1
    return F.cross_entropy(logits + offset / calls, targets)
"""
    loss = CustomLoss("loss.py", text)
    for job in ("first", "second"):
        executor.start(Job(job, ((run(1, loss),),)))
        reported = [e.report.train_loss for e in until(executor, over) if isinstance(e, Reported)]
        alone = train(benchmark("resnet8-digits"), loss, seed=1, epochs=2)
        assert reported == [report.train_loss for report in alone]


def test_runs_of_a_group_advance_together(executor):
    executor.start(Job("job", ((run(1), run(2)),)))
    reported = [e for e in until(executor, over) if isinstance(e, Reported)]
    assert [(e.request.seed, e.report.epoch) for e in reported] == [(1, 0), (2, 0), (1, 1), (2, 1)]


def test_a_stopped_job_says_nothing_more_and_frees_its_slot(executor):
    slots = executor.free
    executor.start(Job("stopped", ((run(1, epochs=50),),)))
    until(executor, lambda events: len(events) > 0)
    executor.stop("stopped")
    deadline = time.monotonic() + 30
    while executor.free < slots:
        assert time.monotonic() < deadline
        assert executor.wait(timeout=1) == []
    executor.start(Job("next", ((run(1, epochs=1),),)))
    assert {event.job for event in until(executor, over)} == {"next"}


def test_a_stopped_run_goes_on_from_its_checkpoint(executor, tmp_path):
    checkpoint = tmp_path / "run.safetensors"
    request = run(1, epochs=4, checkpoint=checkpoint)
    executor.start(Job("first", ((request,),)))
    until(executor, lambda events: len(events) > 1)
    executor.stop("first")
    while executor.busy:
        executor.wait(timeout=1)
    assert checkpoint.is_file()
    executor.start(Job("second", ((request,),)))
    accuracies = [e.report.accuracy for e in until(executor, over) if isinstance(e, Reported)]
    alone = train(benchmark("resnet8-digits"), request.loss, seed=1, epochs=4)
    assert accuracies == [report.accuracy for report in alone]


COUNTING = """
calls = 0
def compute_loss(logits, targets, config):
    global calls
    calls += 1
    return F.cross_entropy(logits, targets) / calls
"""
PLAIN = "def compute_loss(logits, targets, config):\n    return F.cross_entropy(logits, targets)"


@pytest.mark.parametrize(("text", "anew"), [(COUNTING, True), (PLAIN, False)])
def test_a_users_own_file_that_may_keep_state_begins_anew(tmp_path, text, anew):
    executor, loss = InProcess(PLACE), CustomLoss("loss.py", text)
    request = run(1, loss, epochs=3, checkpoint=tmp_path / "run.safetensors")
    executor.start(Job("first", ((request,),)))
    first = until(executor, lambda events: len(events) == 2)
    executor.close()
    executor.start(Job("second", ((request,),)))
    second = [e.report for e in until(executor, over) if isinstance(e, Reported)]
    # What was trained before is told again with the seconds that it took then.
    assert ([e.report for e in first] == second[:2]) is not anew
    alone = train(benchmark("resnet8-digits"), loss, seed=1, epochs=3)
    assert [each.train_loss for each in second] == [each.train_loss for each in alone]


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (run(1, LossSpec("composite", {"scale": 1e30})), "diverged"),
        (run(1, CustomLoss("a.py", "def compute_loss(*_):\n    return None")), "loss"),
        (Request(benchmark="resnet20-cifar10", loss=run(1).loss, seed=1, epochs=1), "data"),
    ],
)
def test_failures_have_a_kind_and_a_reason(executor, request_, kind, monkeypatch):
    executor.start(Job("job", ((request_,),)))
    failed = until(executor, over)[-1]
    assert isinstance(failed, Failed)
    assert (failed.kind, "\n" in failed.reason) == (kind, False)
    assert failed.reason


@pytest.mark.parametrize("greed", ["bytearray(1 << 48)", "torch.empty(1 << 46)"])
def test_memory_that_runs_out_is_told_from_other_faults(greed):
    executor = InProcess(PLACE)
    text = f"def compute_loss(logits, targets, config):\n    return {greed}"
    executor.start(Job("job", ((run(1, CustomLoss("greedy.py", text)),),)))
    (failed,) = until(executor, over)
    assert isinstance(failed, Failed)
    assert failed.kind == "out_of_memory"


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]


def test_a_killed_worker_is_seen_and_replaced():
    workers = Workers(PLACE, 1)
    try:
        workers.start(Job("killed", ((run(1, epochs=200),),)))
        until(workers, lambda events: len(events) > 0)
        children()[-1].kill()
        failed = until(workers, over)[-1]
        assert isinstance(failed, Failed)
        assert (failed.job, failed.kind) == ("killed", "worker_died")
        workers.start(Job("next", ((run(1, epochs=1),),)))
        assert until(workers, over)[-1] == Ended("next")
    finally:
        workers.close()


COORDINATOR = """
from losses import published
from search.executors import Job, Place, RunRequest
from search.workers import Workers
if __name__ == "__main__":
    workers = Workers(Place(device="cpu"), 2)
    request = dict(benchmark="resnet8-digits", loss=published()["cross_entropy"], epochs=10_000)
    for seed in (1, 2):
        workers.start(Job(str(seed), ((RunRequest(seed=seed, **request),),)))
    seen = set()
    while len(seen) < 2:
        seen |= {event.job for event in workers.wait(1)}
    print("training", flush=True)
    while True:
        workers.wait(1)
"""


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_workers_end_within_a_second_of_their_coordinator(tmp_path: Path, how: signal.Signals):
    script = tmp_path / "coordinator.py"
    script.write_text(COORDINATOR)
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "training\n"
        workers = psutil.Process(process.pid).children(recursive=True)
        assert len(workers) >= 2
        os.kill(process.pid, how)
        process.wait()
    deadline = time.monotonic() + 5  # at once where nothing else keeps the cores busy
    while any(is_alive(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    try:  # an orphan that has ended stays a zombie where nobody waits for it
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
