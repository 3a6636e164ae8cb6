"""With several slots the next trials are made while others train, and none of them is lost."""

from collections.abc import Callable

import pytest
from optuna.trial import TrialState

from search.executors import Ended, Event, Job, RunRequest
from search.runs import TrialUpdate, drive
from studies.view import trials_of
from tests.replay import bank
from tests.replay.executor import Replay
from tests.replay.study import Silent, open_database, replay_study
from training import EpochReport

STUDY = """
name = "ahead"
[search]
benchmarks = ["resnet8-digits"]
trials = 8
epochs = 2
seeds = 2
[space]
family = "composite"
parameters = ["eps", "gamma"]
[sampler]
startup = 2
"""


def source(request: RunRequest) -> list[EpochReport]:
    reports = bank.load()[bank.CROSS_ENTROPY, 2001 + request.seed % 12, "search"].reports
    return list(reports[-request.epochs :])


class Logged(Replay):
    """Notes what is started."""

    def __init__(self, slots: int, log: list[str]) -> None:
        super().__init__(source, slots=slots)
        self._log = log

    def start(self, job: Job) -> None:
        self._log.append(f"start {job.key}")
        super().start(job)


def driven(slots: int, jobs: int) -> list[str]:
    """What happens, in order, when so many jobs are driven."""
    log: list[str] = []
    waiting = [str(number) for number in range(jobs)]

    def next_job() -> Job | None:
        if not waiting:
            log.append("none")
            return None
        log.append(f"make {waiting[0]}")
        key = waiting.pop(0)
        loss = bank.CROSS_ENTROPY
        request = RunRequest(benchmark=bank.BENCHMARK, loss=loss, seed=2001, epochs=3)
        return Job(key, ((request,),))

    def handle(event: Event) -> None:
        if isinstance(event, Ended):
            log.append(f"handle {event.job}")

    drive(Logged(slots, log), next_job, handle)
    return log


def test_with_one_slot_a_job_is_made_when_the_one_before_it_is_handled():
    one_by_one = [f"{what} {number}" for number in (0, 1) for what in ("make", "start", "handle")]
    assert driven(1, 2) == [*one_by_one, "none"]


def test_with_two_slots_jobs_are_made_ahead_and_start_before_an_end_is_handled():
    log = driven(2, 4)
    assert log[:4] == ["make 0", "start 0", "make 1", "start 1"]
    for number in (2, 3):
        before = log.index(f"start {number}")
        assert log.index(f"make {number}") < before
        handled = [entry for entry in log[:before] if entry.startswith("handle")]
        assert len(handled) == number - 2  # the end that freed the slot waits


def test_who_has_no_more_jobs_is_not_asked_before_one_ends():
    assert driven(2, 2).count("none") <= 3  # of eight turns: at first, and after each end


class Interrupting(Silent):
    def __init__(self, when: Callable[[TrialUpdate], bool]) -> None:
        self._when = when

    def trial(self, update: TrialUpdate) -> None:
        if self._when(update):
            raise KeyboardInterrupt


def test_trials_that_were_made_ahead_wait_when_the_work_is_interrupted(tmp_path):
    database = open_database(tmp_path / "ahead.db")

    def run(watcher: Silent) -> None:
        replay_study(database, STUDY, lambda: Replay(source, slots=2), watcher=watcher)

    with pytest.raises(KeyboardInterrupt):
        run(Interrupting(lambda update: update.number == 2 and update.done == 2))
    left = trials_of(database, "ahead")
    waiting = [trial for trial in left if trial.state == TrialState.WAITING]
    assert not [trial for trial in left if trial.state == TrialState.RUNNING]
    assert len([trial for trial in waiting if "spec" in trial.user_attrs]) >= 3

    run(Silent())
    trials = trials_of(database, "ahead")
    database.close()
    assert len(trials) == 8
    assert all(trial.state.is_finished() for trial in trials)
    drawn = {trial.number: trial.params for trial in left if trial.params}
    assert {number: trials[number].params for number in drawn} == drawn
