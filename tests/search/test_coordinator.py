import pytest
from optuna.trial import FrozenTrial, TrialState

from search.queueing import references
from search.runs import RunFailedError, TrialUpdate
from studies import records
from studies.reading import parse
from studies.view import trials_of
from tests.search import conftest
from training import benchmark


def seen(trial: FrozenTrial) -> tuple[object, ...]:
    """What must be the same when a study is run again."""
    attributes = {
        k: v for k, v in trial.user_attrs.items() if k not in ("device_seconds", "lease")
    }
    return (
        trial.number,
        trial.state,
        trial.value,
        trial.params,
        trial.intermediate_values,
        attributes,
    )


def test_baselines_open_the_study_and_everything_is_told(home, tiny):
    home.run(tiny)
    trials = trials_of(home.database, "tiny")
    assert [t.user_attrs.get("baseline") for t in trials[:5]] == [
        "cross_entropy",
        "label_smoothing",
        "focal",
        "poly1",
        None,
    ]
    assert len(trials) == tiny.search.trials
    for trial in trials:
        assert trial.user_attrs["outcome"] in ("complete", "pruned")
        assert trial.user_attrs["device_seconds"] > 0
        assert trial.user_attrs["spec"]["family"] == "composite"
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) >= 2
    for trial in complete:
        assert len(trial.intermediate_values) == tiny.search.seeds * tiny.search.epochs
        assert trial.value == trial.intermediate_values[max(trial.intermediate_values)]
        assert trial.user_attrs["gain"]["resnet8-digits"] == pytest.approx(trial.value, abs=1e-4)


def test_a_space_without_the_baselines_runs_them_beside_its_trials(home):
    text = conftest.TINY.replace(
        'family = "composite"\nparameters = ["m", "eps", "gamma", "a1"]\nschedules = ["gamma"]',
        'family = ["sigmoid", "ngl"]\nschedules = ["ngl.alpha"]',
    )
    definition = parse(text, source="tiny.toml")
    home.run(definition, text, total=2)
    trials = trials_of(home.database, "tiny")
    assert [trial.user_attrs.get("baseline") for trial in trials] == [None, None]
    for trial in trials:
        assert trial.user_attrs["spec"]["family"] == trial.params["family"]
    assert list(references(definition)) == ["label_smoothing", "focal", "poly1"]


def test_the_cross_entropy_trial_is_not_its_own_control(home, tiny):
    home.run(tiny, total=1)
    with home.database.transaction() as session:
        study = records.find_study(session, "tiny")
        controls = {run.seed for run in records.controls(session, study.id)}
        tried = {
            run.seed
            for run in records.search_runs(
                session,
                loss_ids={run.loss_id for run in records.controls(session, study.id)},
                protocols=[benchmark("resnet8-digits").digest],
                device="cpu",
            )
            if run.trial == 0
        }
    assert len(tried) == tiny.search.seeds
    assert not tried & controls


def test_a_study_is_the_same_twice_and_when_interrupted(home, another_home, tiny):
    another_home.run(tiny)

    def interrupt(update: TrialUpdate) -> None:
        # In the second seed of a trial, and at the first epoch of another.
        if (update.number, update.done) in {(1, 3), (4, 1)} and update not in interrupted:
            interrupted.append(update)
            raise KeyboardInterrupt

    interrupted: list[TrialUpdate] = []
    home.watcher.on_update = interrupt
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            home.run(tiny)
    home.run(tiny)

    assert len(interrupted) == 2
    once, again = trials_of(another_home.database, "tiny"), trials_of(home.database, "tiny")
    assert [seen(trial) for trial in once] == [seen(trial) for trial in again]


def test_an_interrupted_trial_waits_with_its_reports(home, tiny):
    def interrupt(update: TrialUpdate) -> None:
        if (update.number, update.done) == (1, 3):
            raise KeyboardInterrupt

    home.watcher.on_update = interrupt
    with pytest.raises(KeyboardInterrupt):
        home.run(tiny)
    trial = trials_of(home.database, "tiny")[1]
    assert trial.state == TrialState.WAITING
    assert list(trial.intermediate_values) == [0, 1, 2]
    assert "outcome" not in trial.user_attrs


def test_the_total_counts_over_restarts(home, tiny):
    home.run(tiny, total=3)
    home.run(tiny, total=4)
    home.run(tiny, total=4)
    done = [t for t in trials_of(home.database, "tiny") if t.state != TrialState.WAITING]
    assert [trial.number for trial in done] == [0, 1, 2, 3]


def test_a_diverging_loss_is_recorded_and_the_study_goes_on(home, tiny, monkeypatch):
    from losses import LossSpec

    call = LossSpec.__call__

    def breaking(self, logits_BK, labels_B, values_P):
        loss_B = call(self, logits_BK, labels_B, values_P)
        return loss_B * float("nan") if "gamma" in self.parameters else loss_B

    monkeypatch.setattr(LossSpec, "__call__", breaking)
    home.run(tiny, total=4)
    trials = trials_of(home.database, "tiny")
    focal = next(trial for trial in trials if trial.user_attrs.get("baseline") == "focal")
    assert focal.state == TrialState.PRUNED
    assert focal.user_attrs["outcome"] == "diverged"
    assert "epoch 0" in focal.user_attrs["reason"]
    assert trials[3].user_attrs["outcome"] in ("complete", "pruned")


def test_running_out_of_memory_is_no_verdict(home, tiny, monkeypatch):
    import training.run

    train = training.run.train
    failures = iter([True, True])

    def scarce(benchmark, loss, **arguments):
        if "eps" in loss.parameters and next(failures, False):
            raise MemoryError("no more")
        return train(benchmark, loss, **arguments)

    monkeypatch.setattr(training.run, "train", scarce)
    home.run(tiny, total=2)
    trial = trials_of(home.database, "tiny")[1]
    assert trial.user_attrs["attempts"] == 2
    assert trial.user_attrs["outcome"] == "complete"


def test_three_times_out_of_memory_is_a_failure(home, tiny, monkeypatch):
    import training.run

    train = training.run.train

    def scarce(benchmark, loss, **arguments):
        if "eps" in loss.parameters:
            raise MemoryError("no more")
        return train(benchmark, loss, **arguments)

    monkeypatch.setattr(training.run, "train", scarce)
    home.run(tiny, total=2)
    trial = trials_of(home.database, "tiny")[1]
    assert (trial.state, trial.user_attrs["outcome"]) == (TrialState.FAIL, "out_of_memory")


def test_a_fault_of_ours_stops_the_work_and_loses_nothing(home, tiny, monkeypatch):
    import training.run

    train = training.run.train

    def broken(benchmark, loss, **arguments):
        if "eps" in loss.parameters:
            raise RuntimeError("a fault")
        return train(benchmark, loss, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training.run, "train", broken)
        with pytest.raises(RunFailedError, match="a fault"):
            home.run(tiny, total=2)
    assert trials_of(home.database, "tiny")[1].state == TrialState.WAITING
    home.run(tiny, total=2)
    assert trials_of(home.database, "tiny")[1].user_attrs["outcome"] == "complete"
