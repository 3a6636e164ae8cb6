"""Runs that are kept: trained once, stored when complete, gone on with when cut off."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from search.executors import Event, Executor, Failed, Job, Reported, RunRequest
from studies import records
from studies.database import Database
from studies.errors import StudyError
from studies.records import RunKey
from studies.tables import Run

ATTEMPTS = 3
"""How often a run is tried that ran out of memory or lost its worker: not the loss's doing."""

CURVES = ("train_loss", "accuracy", "cross_entropy", "calibration_error", "gradient_ratio")


class RunFailedError(RuntimeError):
    """A run could not be trained to its end: the work stops, what is done stays."""


class Watcher(Protocol):
    """Is told how the work goes, and shows it."""

    def phase(self, name: str, epochs: int) -> None:
        """A phase begins that trains so many epochs (fewer, where trials are pruned)."""

    def worked(self, epochs: int) -> None:
        """So many epochs of the phase are behind us, trained or saved."""

    def trial(self, update: TrialUpdate) -> None:
        """A trial has moved."""

    def note(self, text: str) -> None:
        """Something that the user should know."""


@dataclass(frozen=True, kw_only=True)
class TrialUpdate:
    """How far a trial is: ``state`` is "running" or the outcome, ``gain`` in points."""

    number: int
    name: str
    state: str
    done: int
    epochs: int
    gain: float | None = None
    error: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """What all phases share: where runs happen, where they are kept, who watches."""

    database: Database
    executor: Executor
    checkpoints: Path
    watcher: Watcher
    study_id: int | None = None

    def key(self, request: RunRequest) -> RunKey:
        """What tells this run from every other."""
        return RunKey(
            benchmark=request.benchmark,
            protocol=self.executor.benchmark(request.benchmark).digest,
            loss_id=request.loss.id,
            seed=request.seed,
            epochs=request.epochs,
            split=request.split,
            device=self.executor.device,
            subset=request.subset,
        )

    def prepare(self, request: RunRequest) -> RunRequest:
        """The request with its checkpoint, ready for an executor; openings are recorded here."""
        if request.split == "evaluation":
            with self.database.transaction() as session:
                records.open_test_split(
                    session,
                    benchmark=request.benchmark,
                    loss_id=request.loss.id,
                    seed=request.seed,
                    epochs=request.epochs,
                    study_id=self.study_id,
                )
        return replace(request, checkpoint=self._checkpoint(request))

    def stored(self, request: RunRequest) -> Run | None:
        """The complete run, if it was ever trained."""
        with self.database.transaction() as session:
            return records.find_run(session, self.key(request))

    def keep(
        self,
        request: RunRequest,
        reports: Sequence[Any],
        *,
        outcome: str = "complete",
        trial: int | None = None,
    ) -> Run:
        """Store what was trained; its checkpoint has then served."""
        run = Run(
            **asdict(self.key(request)),
            spec=request.loss.to_json(),
            outcome=outcome,
            curves={name: [getattr(each, name) for each in reports] for name in CURVES},
            seconds=sum(each.seconds for each in reports),
            study_id=self.study_id,
            trial=trial,
        )
        with self.database.transaction() as session:
            records.add_run(session, run)
        self.discard(request)
        return run

    def tries(self, event: Failed, before: int) -> int:
        """How many tries of a run count after a failure: one that lacked room does not."""
        if event.kind != "no_room":
            return before + 1
        self.watcher.note(event.reason)
        return before

    def discard(self, request: RunRequest) -> None:
        """Remove the checkpoint of a run that nobody will go on with."""
        self._checkpoint(request).unlink(missing_ok=True)

    def _checkpoint(self, request: RunRequest) -> Path:
        identity = repr(sorted(asdict(self.key(request)).items()))
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return self.checkpoints / f"{request.benchmark}-{digest}.safetensors"


def drive(
    executor: Executor, next_job: Callable[[], Job | None], handle: Callable[[Event], None]
) -> None:
    """Keep every slot of an executor at work until there is nothing more to start.

    Where there are several slots, the next job of each is made while others train, and starts
    before the end of the one before it is handled: no slot waits for a sampler or a database.
    """
    slots = executor.free
    ahead: deque[Job] = deque()
    more = True  # who has no job to give has none before one ends
    while more or executor.busy:
        if more and (executor.free or 1 < slots > len(ahead)):
            job = next_job()
            more = job is not None
            ahead += [job] if job else []
            _start(executor, ahead)
            if more and executor.free:
                continue
        events = executor.wait(timeout=1.0) if executor.busy else []
        _start(executor, ahead)
        for event in events:
            handle(event)
            more = more or not isinstance(event, Reported)


def _start(executor: Executor, jobs: deque[Job]) -> None:
    while executor.free and jobs:
        executor.start(jobs.popleft())


@dataclass(frozen=True)
class Wanted:
    """A run that somebody needs, for a trial or for none."""

    request: RunRequest
    trial: int | None = None


def complete(
    bench: Workbench, wanted: Iterable[Wanted], phase: str, *, again: bool = False
) -> dict[RunRequest, Run]:
    """Train what is not stored yet, or everything if it is to be trained again.

    Returns:
        The complete runs; one that diverged is missing, and is stored as such.

    Raises:
        RunFailedError: a run failed, and not by diverging.
        StudyError: a data set is missing or damaged.
    """
    batch = _Batch(bench, list(dict.fromkeys(wanted)), again=again)
    bench.watcher.phase(phase, sum(each.request.epochs for each in batch.waiting))
    drive(bench.executor, batch.next_job, batch.handle)
    return batch.runs


class _Batch:
    """Runs without a trial to prune: each a job of its own."""

    def __init__(self, bench: Workbench, wanted: Sequence[Wanted], *, again: bool) -> None:
        self._bench = bench
        found = {each.request: bench.stored(each.request) for each in wanted if not again}
        self.runs = {request: run for request, run in found.items() if run is not None}
        self.waiting = deque(each for each in wanted if each.request not in self.runs)
        self._active: dict[str, tuple[Wanted, list[Any]]] = {}
        self._attempts: dict[Wanted, int] = {}

    def next_job(self) -> Job | None:
        if not self.waiting:
            return None
        wanted = self.waiting.popleft()
        request = self._bench.prepare(wanted.request)
        key = str(request.checkpoint)
        self._active[key] = (wanted, [])
        return Job(key, ((request,),))

    def handle(self, event: Event) -> None:
        wanted, reports = self._active[event.job]
        if isinstance(event, Reported):
            reports.append(event.report)
            self._bench.watcher.worked(1)
        elif isinstance(event, Failed):
            self._failed(event, wanted, reports)
        else:
            self.runs[wanted.request] = self._bench.keep(
                wanted.request, reports, trial=wanted.trial
            )

    def _failed(self, event: Failed, wanted: Wanted, reports: list[Any]) -> None:
        if event.kind == "diverged":
            self._bench.keep(wanted.request, reports, outcome="diverged", trial=wanted.trial)
            self._bench.watcher.worked(wanted.request.epochs - len(reports))
            self._bench.watcher.note(
                f"{wanted.request.loss.label}, seed {wanted.request.seed}: {event.reason}"
            )
            return
        self._attempts[wanted] = self._bench.tries(event, self._attempts.get(wanted, 0))
        if not is_worth_another_try(event, self._attempts[wanted]):
            raise failure(event)
        self._bench.watcher.worked(-len(reports))
        self.waiting.appendleft(wanted)


def is_worth_another_try(event: Failed, attempts: int) -> bool:
    """Whether a run that failed may be tried again."""
    if event.kind == "no_room":
        return True
    return event.kind in ("out_of_memory", "worker_died") and attempts < ATTEMPTS


def failure(event: Failed) -> Exception:
    """The exception for a failure that stops the work."""
    if event.kind == "data":
        return StudyError(event.reason)
    if event.kind == "loss":
        return RunFailedError(event.reason)
    return RunFailedError(f"{event.kind.replace('_', ' ')}: {event.reason}")
