"""Outcomes told apart, on the coordinator's own path; the networks are replaced by curves."""

from __future__ import annotations

import random
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

import losses.screening
from losses import LossSpec, published
from losses.fingerprint import SAME, Fingerprint
from search.coordinator import STATES, Coordinator
from search.executors import Ended, Event, Failed, Job, Reported, RunRequest
from search.ladder import load, train_controls, train_references
from search.opening import open_optuna_study, register
from search.runs import TrialUpdate, Workbench
from studies.database import Database, parse_url
from studies.definition import StudyDefinition
from studies.lease import alone, lease
from studies.reading import parse
from studies.standings import spec_of
from studies.status import status
from studies.view import trials_of
from tests.search.conftest import TINY, Recorder
from tests.search.test_coordinator import seen
from training import EpochReport, benchmark

STUDY = """
name = "replayed"
[search]
benchmarks = ["resnet8-digits"]
trials = 60
epochs = 2
seeds = 1
keep = 4
[space]
family = "composite"
parameters = ["m", "eps"]
[pruner]
name = "none"
"""


class Replay:
    """An executor with made-up curves: what a run comes to depends on its loss and seed alone."""

    device = "cpu"
    benchmark = staticmethod(benchmark)

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self.trained: list[RunRequest] = []
        self.fails: Callable[[Job], str | None] = lambda job: None

    @property
    def free(self) -> int:
        return int(not self._events)

    @property
    def busy(self) -> bool:
        return bool(self._events)

    def start(self, job: Job) -> None:
        if kind := self.fails(job):
            self._events.append(Failed(job.key, kind, "it does", job.groups[0][0]))
            return
        for request in (request for group in job.groups for request in group):
            self.trained.append(request)
            accuracy = 90 + random.Random(f"{request.loss.id}/{request.seed}").gauss(0, 1)
            for epoch in range(request.epochs):
                report = EpochReport(
                    epoch=epoch,
                    train_loss=1.0,
                    accuracy=accuracy,
                    cross_entropy=1.0,
                    calibration_error=1.0,
                    seconds=0.5,
                )
                self._events.append(Reported(job.key, request, report))
        self._events.append(Ended(job.key))

    def stop(self, key: str) -> None:
        self._events.clear()

    def wait(self, timeout: float) -> list[Event]:
        return [self._events.popleft()]

    def close(self) -> None:
        self._events.clear()


class Replayed:
    """A study whose runs are replayed."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(parse_url(f"sqlite:///{folder / 'replayed.db'}"))
        self.executor = Replay()
        self.watcher = Recorder()
        self._checkpoints = folder

    def run(self, definition: StudyDefinition, total: int) -> list[FrozenTrial]:
        with ExitStack() as stack:
            stack.enter_context(alone(self.database, definition.name))
            row = register(self.database, definition, STUDY, total=total, amend=True)
            leases = stack.enter_context(lease(self.database, row.id))
            bench = Workbench(
                database=self.database,
                executor=self.executor,
                checkpoints=self._checkpoints,
                watcher=self.watcher,
                study_id=row.id,
            )
            study = open_optuna_study(self.database.storage, definition.name)
            controls = train_controls(bench, definition, 0)
            train_references(bench, definition)
            Coordinator(bench, definition, study, controls, leases).run(total)
            self.ladder = load(bench, definition, study)
        return trials_of(self.database, definition.name)


@contextmanager
def opened(folder: Path) -> Iterator[Replayed]:
    folder.mkdir(exist_ok=True)
    made = Replayed(folder)
    yield made
    made.database.close()


@pytest.fixture
def replayed(tmp_path: Path) -> Iterator[Replayed]:
    with opened(tmp_path / "replayed") as made:
        yield made


def study_of(parameters: str, lines: str = "") -> StudyDefinition:
    text = STUDY.replace('"m", "eps"', parameters) + lines
    return parse(text, source="replayed.toml")


def outcomes(trials: list[FrozenTrial]) -> Counter[str]:
    return Counter(trial.user_attrs["outcome"] for trial in trials)


def print_of(trial: FrozenTrial) -> Fingerprint:
    return Fingerprint.of("", spec_of(trial), epochs=2)


def all_differ(trials: list[FrozenTrial]) -> bool:
    prints = [print_of(trial) for trial in trials]
    return not any(each.twin(prints[:index]) for index, each in enumerate(prints))


def is_broken(spec: LossSpec) -> bool:
    """Half of the margin's range."""
    return bool(spec.parameters.get("m", 0.0) > 1.5)


@pytest.fixture
def _large_margins_are_upside_down(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = LossSpec.per_example

    def per_example(self, logits_BK, labels_B, *, progress):
        loss_B = correct(self, logits_BK, labels_B, progress=progress)
        return -loss_B if is_broken(self) else loss_B

    monkeypatch.setattr(LossSpec, "per_example", per_example)


@pytest.mark.usefixtures("_large_margins_are_upside_down")
def test_what_is_broken_is_rejected_and_never_trained(replayed):
    trials = replayed.run(study_of('"m", "eps"'), 24)
    for trial in trials:
        broken = is_broken(spec_of(trial))
        assert trial.user_attrs["outcome"] == ("rejected" if broken else "complete")
        assert trial.state == (TrialState.PRUNED if broken else TrialState.COMPLETE)
    rejected = [trial for trial in trials if is_broken(spec_of(trial))]
    assert len(rejected) >= 5
    for trial in rejected:
        assert trial.user_attrs["reason"].startswith("does not teach: 100 steps of gradient")
        assert trial.user_attrs["device_seconds"] == 0
        assert not trial.intermediate_values
    assert not any(is_broken(request.loss) for request in replayed.executor.trained)
    found = status("replayed", 24, trials, [])
    assert found["trials"]["rejected"] == len(rejected)
    shown = {each.number: each for each in replayed.watcher.updates if each.state == "rejected"}
    assert list(shown) == [trial.number for trial in rejected]
    assert shown[rejected[0].number].reason == rejected[0].user_attrs["reason"]


def late_rejections(folder: Path, studies: int) -> float:
    """The share of refused losses among the later half of each study's 40 trials.

    One study is a draw of its own on every kind of processor, which rounds its own way. Of the
    losses that the taylor family draws at random, two in three do not teach.
    """
    text = STUDY.replace('"composite"', '"taylor"').replace('parameters = ["m", "eps"]', "")
    late = []
    for seed in range(studies):
        definition = parse(text.replace("keep", f"seed = {seed}\nkeep"), source="replayed.toml")
        with opened(folder / f"study-{seed}") as replayed:
            late += replayed.run(definition, 40)[20:]
    return outcomes(late)["rejected"] / len(late)


def test_tpe_keeps_away_from_what_it_is_told_is_pruned(tmp_path):
    assert late_rejections(tmp_path, 3) <= 0.5


@pytest.mark.slow
def test_tpe_keeps_away_less_from_what_it_is_told_has_failed(tmp_path, monkeypatch):
    pruned = late_rejections(tmp_path, 6)
    monkeypatch.setitem(STATES, "rejected", TrialState.FAIL)
    (tmp_path / "failed").mkdir()
    assert late_rejections(tmp_path / "failed", 6) > pruned


def test_a_loss_is_tried_once(replayed):
    trials = replayed.run(study_of('"gamma"'), 30)
    counts = outcomes(trials)
    assert counts["rejected"] >= 5
    assert counts["complete"] + counts["rejected"] == 30  # the total counts them
    for trial in trials:
        if trial.user_attrs["outcome"] == "rejected":
            reason = trial.user_attrs["reason"]
            twin = re.match(r"already tried: the same gradients as trial (\d+)", reason)
            assert int(twin[1]) < trial.number
            assert print_of(trial).likeness(print_of(trials[int(twin[1])])).distance < SAME
    tried = [trial for trial in trials if trial.user_attrs["outcome"] == "complete"]
    assert all_differ(tried)
    candidates = {each.number for each in replayed.ladder.candidates(1)}
    assert candidates <= {trial.number for trial in tried}


def test_baselines_are_never_refused_and_are_compared_with(replayed):
    def near(baseline: str) -> dict[str, float]:
        values = {"eps": 1e-6, "gamma": 1e-6}
        return {"focal": values | {"gamma": 2.0}, "cross_entropy": values}[baseline]

    definition = study_of('"eps", "gamma"')
    trials = replayed.run(definition, 3)
    assert outcomes(trials) == {"complete": 3}
    study = open_optuna_study(replayed.database.storage, "replayed")
    study.enqueue_trial(near("focal"))
    study.enqueue_trial(near("cross_entropy"))
    first, second = replayed.run(definition, 5)[3:]
    assert first.user_attrs["reason"] == "already tried: the same gradients as trial 2 (focal)"
    assert "trial 0 (cross_entropy)" in second.user_attrs["reason"]


def test_a_baseline_outside_the_space_is_compared_with(replayed):
    text = STUDY.replace('"composite"', '"asymmetric"').replace('"m", "eps"', '"gp", "gn", "eps"')
    definition = parse(text, source="replayed.toml")
    assert set(replayed.run(definition, 2)[0].params) == {"gp", "gn", "eps"}
    study = open_optuna_study(replayed.database.storage, "replayed")
    study.enqueue_trial({"gp": 2.0, "gn": 0.0, "eps": 0.0})
    twin = replayed.run(definition, 3)[2]
    assert twin.user_attrs["reason"] == "already tried: the same gradients as the published focal"


def test_a_trial_that_has_begun_is_not_refused_any_more(replayed, monkeypatch):
    def interrupt(update: TrialUpdate) -> None:
        if update.number == 5 and update.done == 1:
            raise KeyboardInterrupt

    definition = study_of('"m", "eps"')
    replayed.watcher.on_update = interrupt
    with pytest.raises(KeyboardInterrupt):
        replayed.run(definition, 7)
    replayed.watcher.on_update = lambda update: None
    monkeypatch.setattr(losses.screening, "WEAKEST", 100.0)
    begun, fresh = replayed.run(definition, 7)[5:]
    assert begun.user_attrs["outcome"] == "complete"
    assert fresh.user_attrs["outcome"] == "rejected"


def test_duplicates_may_be_kept(replayed):
    definition = study_of('"gamma"', '[screening]\nduplicates = "keep"')
    trials = replayed.run(definition, 24)
    assert outcomes(trials) == {"complete": 24}
    assert not all_differ(trials)


@pytest.mark.usefixtures("_large_margins_are_upside_down")
def test_screening_may_be_switched_off(replayed):
    trials = replayed.run(study_of('"m", "eps"', "[screening]\nenabled = false"), 16)
    assert outcomes(trials) == {"complete": 16}
    assert any(is_broken(request.loss) for request in replayed.executor.trained)


def test_a_study_refuses_the_same_when_it_is_interrupted(replayed, tmp_path):
    definition = study_of('"gamma"')

    def interrupt(update: TrialUpdate) -> None:
        if update.done == 1 and update.number >= after[0]:
            after.pop(0)
            raise KeyboardInterrupt

    after = [5, 10, 14, 10**9]
    replayed.watcher.on_update = interrupt
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            replayed.run(definition, 24)
    cut = replayed.run(definition, 24)
    with opened(tmp_path / "another") as another:
        whole = another.run(definition, 24)
    assert outcomes(whole)["rejected"] >= 2
    assert [seen(trial) for trial in cut] == [seen(trial) for trial in whole]


def test_a_study_whose_losses_are_all_rejected_ends(home, monkeypatch):
    monkeypatch.setattr(losses.screening, "WEAKEST", 100.0)
    text = TINY.replace('"composite"', '"temperature"') + "[promotion]\nautomatic = true\n"
    text = re.sub(r"(?m)^(parameters|schedules) = .*$", "", text)
    home.run(parse(text, source="tiny.toml"), text, total=6)
    trials = trials_of(home.database, "tiny")
    assert outcomes(trials) == {"complete": 1, "rejected": 5}  # cross-entropy is a baseline
    assert "no signal: the gradient is" in trials[5].user_attrs["reason"]


def test_a_worker_that_dies_three_times_is_no_verdict(replayed):
    focal = published()["focal"]

    def dies(job: Job) -> str | None:
        return "worker_died" if job.groups[0][0].loss == focal else None

    replayed.executor.fails = dies
    trials = replayed.run(study_of('"eps", "gamma"'), 4)
    failed = trials[2]
    assert (failed.state, failed.user_attrs["outcome"]) == (TrialState.FAIL, "worker_died")
    assert failed.user_attrs["reason"] == "it does (3 attempts)"
    assert status("replayed", 4, trials, [])["trials"]["failed"] == 1


def test_what_failed_may_be_tried_again(replayed):
    values = {"eps": 0.05, "gamma": 1.0}
    definition = study_of('"eps", "gamma"')
    replayed.run(definition, 3)
    study = open_optuna_study(replayed.database.storage, "replayed")
    study.enqueue_trial(values)
    replayed.executor.fails = lambda job: "out_of_memory"
    assert replayed.run(definition, 4)[3].user_attrs["outcome"] == "out_of_memory"
    replayed.executor.fails = lambda job: None
    study.enqueue_trial(values)
    study.enqueue_trial(values)
    again, twin = replayed.run(definition, 6)[4:]
    assert again.user_attrs["outcome"] == "complete"
    assert twin.user_attrs["reason"] == "already tried: the same gradients as trial 4"


def test_a_loss_that_diverges_is_a_verdict(replayed):
    focal = published()["focal"]
    replayed.executor.fails = lambda job: "diverged" if job.groups[0][0].loss == focal else None
    trials = replayed.run(study_of('"eps", "gamma"'), 4)
    assert (trials[2].state, trials[2].user_attrs["outcome"]) == (TrialState.PRUNED, "diverged")
    assert status("replayed", 4, trials, [])["trials"]["rejected"] == 1
