"""The coordinator: asks Optuna, hands losses to the executor, reads reports, prunes, tells.

It alone writes to the database. A trial that is cut off, by Ctrl-C or by the death of a worker or
of the coordinator, waits with its number, its parameters and its reports, and goes on from its
checkpoint when it is asked for again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from losses import LossSpec
from search.executors import Event, Failed, Job, Reported, RunRequest
from search.memory import Memory
from search.objective import Candidate, noise
from search.opening import release_dead_trials, requeue
from search.pruning import make_pruner
from search.queueing import enqueue, enqueue_baselines, references, starts
from search.runs import TrialUpdate, Workbench, drive, failure, is_worth_another_try
from search.samplers import make_sampler
from search.screening import Screener
from search.space import suggest
from studies.definition import StudyDefinition
from studies.gains import Expectation, Pair
from studies.lease import Leases
from studies.standings import CROSS_ENTROPY, finished, spec_of

POLL = 2.0
"""Seconds between two looks at what other coordinators still have to finish."""

PAIRS = 1000
"""How many of the latest runs say how much runs share with their controls: more say no more."""

STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "rejected": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
}
"""How Optuna is told. PRUNED is a verdict on the loss, which TPE keeps away from; FAIL, all the
rest, says nothing of it, and TPE does not see it. A loss that was tried before is no exception:
told as COMPLETE with its twin's value it would count twice on the ladder and in the pruner, and
TPE finds nothing better with it."""

Controls = Mapping[str, Mapping[int, list[float]]]
"""Accuracy curves (%) of plain cross-entropy: by benchmark, by seed."""


@dataclass(kw_only=True)
class _Active:
    """A trial at work; ``reported`` is the last step that Optuna knew when it was asked for."""

    trial: optuna.Trial
    candidate: Candidate
    pruner: BasePruner
    reported: int
    reports: dict[RunRequest, list[Any]] = field(default_factory=dict)
    seconds: float = 0.0
    done: int = 0
    gain: float | None = None


class Coordinator:
    """Runs the trials of one study.

    Args:
        bench: where runs happen and are kept.
        definition: the study's.
        study: Optuna's study.
        controls: cross-entropy at search fidelity.
        leases: this coordinator's lease.
    """

    def __init__(
        self,
        bench: Workbench,
        definition: StudyDefinition,
        study: optuna.Study,
        controls: Controls,
        leases: Leases,
    ) -> None:
        self._bench = bench
        self._definition = definition
        self._study = study
        self._controls = controls
        self._leases = leases
        self._screener = Screener(definition)
        self._active: dict[str, _Active] = {}
        self._pairs = {name: deque[Pair](maxlen=PAIRS) for name in controls}
        self._memory = Memory(study.study_name, bench.database.storage)
        self._total = 0

    def run(self, total: int) -> None:
        """Bring the study to a total of so many trials, whoever has run the earlier ones.

        Raises:
            RunFailedError: a run failed for a reason that is not its loss's.
            StudyError: a data set is missing or damaged.
        """
        self._total = total
        with self._leases.in_turn():
            enqueue_baselines(self._study, self._definition)
            queued = starts(self._definition, self._bench.database)
            enqueue(self._study, self._definition, queued)
        for spec in references(self._definition).values():
            self._learn_stored(spec)
        for each in finished(self._study.get_trials(deepcopy=False))[-PAIRS:]:
            self._learn_stored(each.spec)
        left = max(0, total - self._started())
        self._bench.watcher.phase("search", left * self._epochs_of_a_trial)
        try:
            drive(self._bench.executor, self._next_job, self._handle)
            while self._others_at_work():  # or dead: then their trials come to us
                time.sleep(POLL)
                drive(self._bench.executor, self._next_job, self._handle)
            self._sweep()
        finally:
            if self._active:
                self._bench.executor.close()  # first: a checkpoint is written as it closes
            for active in self._active.values():
                self._requeue(active)

    def _sweep(self) -> None:
        """Remove the checkpoints of finished trials: a worker that is stopped writes once more."""
        if not any(self._bench.checkpoints.iterdir()):
            return
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.is_finished() and "spec" in trial.user_attrs:
                for seed in _seeds(self._definition, spec := spec_of(trial)):
                    for name in self._controls:
                        self._bench.discard(self._request(spec, seed, name))

    def _request(self, spec: LossSpec, seed: int, benchmark: str) -> RunRequest:
        epochs = self._definition.search.epochs
        return RunRequest(benchmark=benchmark, loss=spec, seed=seed, epochs=epochs)

    # A trial begins

    def _started(self) -> int:
        trials = self._study.get_trials(deepcopy=False)
        return sum(trial.state != TrialState.WAITING for trial in trials)

    @property
    def _numbers(self) -> set[int]:
        return {active.trial.number for active in self._active.values()}

    @property
    def _epochs_of_a_trial(self) -> int:
        return self._definition.search.seeds * self._definition.search.epochs * len(self._controls)

    def _others_at_work(self) -> bool:
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return self._leases.shared and len(running) > 0

    def _ask(self) -> optuna.Trial | None:
        # In turn: the total is everybody's, and a trial without a lease would pass for dead.
        with self._leases.in_turn():
            if not self._active or self._leases.shared:
                release_dead_trials(
                    self._study, self._bench.database.storage, self._leases, at_work=self._numbers
                )
            if self._started() >= self._total:
                return None
            trial = self._study.ask()
            trial.set_user_attr("lease", self._leases.mine)
            return trial

    def _next_job(self) -> Job | None:
        while (trial := self._ask()) is not None:
            trials = self._study.get_trials(deepcopy=False)
            self._memory.update(trials)
            # Made anew for every trial, the sampler draws for trial n what it would have drawn
            # had the study never been interrupted.
            self._study.sampler = make_sampler(self._definition, trial.number, self._memory)
            spec = suggest(trial, self._definition.space, self._definition.search.epochs)
            trial.set_user_attr("spec", spec.to_dict())
            candidate = self._candidate(spec)
            active = _Active(
                trial=trial,
                candidate=candidate,
                pruner=make_pruner(self._definition, partial(noise, candidate)),
                reported=max(trials[trial.number].intermediate_values, default=-1),
            )
            if (job := self._begin(active, trials)) is not None:
                return job
        return None

    def _candidate(self, spec: LossSpec) -> Candidate:
        return Candidate(
            spec=spec,
            seeds=_seeds(self._definition, spec),
            epochs=self._definition.search.epochs,
            expectations={
                name: Expectation.estimate(curves, self._pairs[name])
                for name, curves in self._controls.items()
            },
        )

    def _begin(self, active: _Active, trials: Sequence[FrozenTrial]) -> Job | None:
        """Screen a trial, and take over what is stored of its runs; the job is what is missing."""
        key = f"trial-{active.trial.number}"
        self._active[key] = active
        if (reason := self._refusal(active, trials)) is not None:
            self._end(key, "rejected", reason)
            return None
        self._show(active, "running")
        groups: list[tuple[RunRequest, ...]] = []
        for group in active.candidate.requests():
            stored = {request: self._bench.stored(request) for request in group}
            active.seconds += sum(run.seconds for run in stored.values() if run is not None)
            if not groups and all(stored.values()):
                self._replay(key, {r: run.curves["accuracy"] for r, run in stored.items() if run})
                if key not in self._active:  # pruned
                    return None
                continue
            for request, run in stored.items():
                if run is not None:
                    curve = run.curves["accuracy"]
                    active.candidate.curves[request.seed, request.benchmark] = curve
                    active.done += len(curve)
            groups.append(tuple(self._bench.prepare(r) for r in group if stored[r] is None))
        if groups:
            return Job(key, tuple(group for group in groups if group))
        self._complete(key)
        return None

    def _refusal(self, active: _Active, trials: Sequence[FrozenTrial]) -> str | None:
        # Baselines are there to be compared with; a trial with reports was let through before.
        if "baseline" in active.trial.user_attrs or active.reported >= 0:
            return None
        return self._screener.refusal(active.trial.number, active.candidate.spec, trials)

    def _learn_stored(self, spec: LossSpec) -> None:
        """Learn from the runs that an earlier coordinator has trained."""
        for seed in _seeds(self._definition, spec):
            for name in self._controls:
                run = self._bench.stored(self._request(spec, seed, name))
                if run is not None:
                    self._pairs[name].append(Pair(spec.id, seed, run.curves["accuracy"]))

    def _learn(self, candidate: Candidate) -> None:
        for (seed, benchmark), curve in candidate.curves.items():
            self._pairs[benchmark].append(Pair(candidate.spec.id, seed, curve))

    # A trial goes on

    def _replay(self, key: str, curves: Mapping[RunRequest, list[float]]) -> None:
        for epoch in range(self._definition.search.epochs):
            for request, curve in curves.items():
                if key in self._active:
                    self._advance(key, request, curve[epoch])

    def _handle(self, event: Event) -> None:
        if event.job not in self._active:
            return
        if isinstance(event, Failed):
            self._failed(event)
        elif isinstance(event, Reported):
            self._reported(event)
        else:
            self._complete(event.job)

    def _reported(self, event: Reported) -> None:
        active = self._active[event.job]
        reports = active.reports.setdefault(event.request, [])
        reports.append(event.report)
        active.seconds += event.report.seconds
        if len(reports) == event.request.epochs:
            self._bench.keep(event.request, reports, trial=active.trial.number)
            del active.reports[event.request]
        self._advance(event.job, event.request, event.report.accuracy)

    def _advance(self, key: str, request: RunRequest, accuracy: float) -> None:
        active = self._active[key]
        active.done += 1
        self._bench.watcher.worked(1)
        step = active.candidate.add(request, accuracy)
        if step is None:
            return
        active.gain = active.candidate.value(step)
        if step > active.reported:
            active.trial.report(active.gain, step)
        self._show(active, "running")
        is_known = step < active.reported  # from before an interruption: it went on from there
        is_last = active.done == self._epochs_of_a_trial
        if not is_known and not is_last and self._is_behind(active, step):
            self._prune(key, step)

    def _is_behind(self, active: _Active, step: int) -> bool:
        if "baseline" in active.trial.user_attrs:  # they are there to be compared with
            return False
        # Trial.should_prune would read the whole trial from the database, and the pruner the
        # study, after every epoch.
        epochs = self._definition.search.epochs
        ends = range(epochs - 1, step, epochs)  # of the seeds before this one
        now = create_trial(
            state=TrialState.RUNNING,
            intermediate_values={at: active.candidate.value(at) for at in (*ends, step)},
        )
        return active.pruner.prune(self._memory, now)

    # A trial ends

    def _prune(self, key: str, step: int) -> None:
        active = self._active[key]
        self._bench.executor.stop(key)
        seed, epoch = divmod(step, self._definition.search.epochs)
        self._end(key, "pruned", f"behind after epoch {epoch + 1} of seed {seed + 1}")
        for request, reports in active.reports.items():
            self._bench.keep(request, reports, outcome="pruned", trial=active.trial.number)

    def _complete(self, key: str) -> None:
        active = self._active[key]
        for name, value in active.candidate.attributes().items():
            active.trial.set_user_attr(name, value)
        self._learn(active.candidate)
        self._end(key, "complete", "every run ended", active.gain)

    def _failed(self, event: Failed) -> None:
        active = self._active[event.job]
        if event.kind == "diverged":
            for request, reports in active.reports.items():
                outcome = "diverged" if request == event.request else "pruned"
                self._bench.keep(request, reports, outcome=outcome, trial=active.trial.number)
            self._end(event.job, "diverged", event.reason)
            return
        before = int(active.trial.user_attrs.get("attempts", 0))
        attempts = self._bench.tries(event, before)
        active.trial.set_user_attr("attempts", attempts)
        if is_worth_another_try(event, attempts):
            self._bench.watcher.worked(-active.done)
            self._requeue(self._active.pop(event.job))
            return
        if event.kind not in ("out_of_memory", "worker_died"):
            raise failure(event)
        self._end(event.job, event.kind, f"{event.reason} ({attempts} attempts)")

    def _end(self, key: str, outcome: str, reason: str, value: float | None = None) -> None:
        active = self._active.pop(key)
        trial = active.trial
        self._bench.watcher.worked(self._epochs_of_a_trial - active.done)
        # Before it is told: Optuna freezes a finished trial.
        trial.set_user_attr("outcome", outcome)
        trial.set_user_attr("reason", reason)
        trial.set_user_attr("device_seconds", round(active.seconds, 3))
        self._study.tell(trial, value, state=STATES.get(outcome, TrialState.FAIL))
        self._show(active, outcome, reason)

    def _requeue(self, active: _Active) -> None:
        requeue(self._study, self._bench.database.storage, active.trial.number)

    def _show(self, active: _Active, state: str, reason: str = "") -> None:
        baseline = active.trial.user_attrs.get("baseline")
        self._bench.watcher.trial(
            TrialUpdate(
                number=active.trial.number,
                name=baseline or active.candidate.spec.label,
                state=state,
                done=active.done,
                epochs=self._epochs_of_a_trial,
                gain=active.gain,
                reason=reason,
            )
        )


def _seeds(definition: StudyDefinition, spec: LossSpec) -> list[int]:
    # On its controls' seeds cross-entropy would be them, bit for bit.
    return definition.baseline_seeds() if spec == CROSS_ENTROPY else definition.seeds(0)
