"""The bank is real, and the replayed parts do what the tables rest on."""

from time import monotonic

import pytest

from search.executors import Ended, Event, Failed, Job, Reported, RunRequest
from studies.view import trials_of
from tests.replay import bank, claims, pruning
from tests.replay.contenders import EPOCHS, SEEDS, contenders
from tests.replay.executor import Replay
from tests.replay.study import open_database, replay_study
from training import benchmark, train


@pytest.fixture(scope="module")
def runs() -> bank.Bank:
    return bank.load()


def request(seed: int = 2001) -> RunRequest:
    return RunRequest(benchmark=bank.BENCHMARK, loss=bank.CROSS_ENTROPY, seed=seed, epochs=15)


def job(key: str = "job") -> Job:
    return Job(key, ((request(2001),), (request(2002),)))


def until_idle(executor: Replay) -> list[Event]:
    events: list[Event] = []
    while executor.busy:
        events += executor.wait(timeout=1)
    return events


def test_the_bank_holds_what_it_says(runs):
    complete = {key for key, run in runs.items() if run.is_complete}
    assert len(bank.candidates(runs)) >= 60
    assert {(bank.CROSS_ENTROPY, seed, "search") for seed in bank.CONTROL_SEEDS} <= complete
    assert {(bank.CROSS_ENTROPY, seed, "search") for seed in bank.NOISE_SEEDS} <= complete
    evaluations = {(bank.CROSS_ENTROPY, seed, "evaluation") for seed in claims.NOISE["evaluation"]}
    assert evaluations <= complete
    assert len(bank.NOISE_SEEDS) >= 300
    assert len(bank.EVALUATION_NOISE_SEEDS) >= 150
    assert bank.FILE.stat().st_size < 1_000_000


def test_the_bank_is_what_training_gives(runs):
    # Another processor rounds otherwise, and the curves part after a few steps.
    recorded = runs[bank.CROSS_ENTROPY, 2001, "search"].reports[0]
    report = next(train(benchmark(bank.BENCHMARK), bank.CROSS_ENTROPY, seed=2001, epochs=15))
    assert report.train_loss == pytest.approx(recorded.train_loss, rel=0.02)


def test_a_replay_reports_what_was_recorded_and_ends(runs):
    executor = Replay(lambda r: runs[r.loss, r.seed, r.split].reports)
    executor.start(job())
    assert (executor.free, executor.busy) == (0, True)
    *reported, end = until_idle(executor)
    assert end == Ended("job")
    assert [(e.request.seed, e.report) for e in reported if isinstance(e, Reported)] == [
        (seed, report)
        for seed in (2001, 2002)
        for report in runs[bank.CROSS_ENTROPY, seed, "search"].reports
    ]


def test_a_stopped_replay_says_no_more(runs):
    executor = Replay(lambda r: runs[r.loss, r.seed, r.split].reports, slots=2)
    executor.start(job("stopped"))
    executor.start(job("goes on"))
    first = executor.wait(timeout=1)
    executor.stop("stopped")
    later = until_idle(executor)
    assert [event.job for event in first] == ["stopped"]
    assert {event.job for event in later} == {"goes on"}


def test_a_replay_keeps_its_pace_and_measures_how_long_its_slot_was_free(runs):
    executor = Replay(lambda r: runs[r.loss, r.seed, r.split].reports, pace=0.01)
    began = monotonic()
    executor.start(job())
    until_idle(executor)
    seconds = executor.trained
    assert monotonic() - began >= 0.01 * seconds > 0.01
    executor.start(job())
    assert len(executor.waits) == 1
    assert 0 <= executor.waits[0] <= monotonic() - began


def test_a_run_that_diverged_does_so_again(runs):
    executor = Replay(lambda r: runs[r.loss, r.seed, r.split].reports[:3])
    executor.start(job())
    *reported, end = until_idle(executor)
    assert len(reported) == 3
    assert isinstance(end, Failed)
    assert (end.kind, end.request) == ("diverged", request())


def test_a_replayed_study_is_whole(runs, tmp_path):
    database = open_database(tmp_path / "study.db")
    source = claims.Draw(runs, claims.PLANTED["nothing"], seed=0)
    definition = replay_study(database, claims.STUDY.format(seed=0), lambda: Replay(source))
    trials = trials_of(database, definition.name)
    database.close()
    assert len(trials) == definition.search.trials
    assert {trial.user_attrs["outcome"] for trial in trials} <= {"complete", "pruned"}


def test_no_run_of_a_study_is_drawn_twice(runs):
    draw = claims.Draw(runs, claims.PLANTED["nothing"], seed=0)
    drawn = [tuple(report.train_loss for report in draw(request())) for _ in bank.NOISE_SEEDS]
    assert len(set(drawn)) == len(bank.NOISE_SEEDS)


def test_pruning_spends_less_and_no_pruning_spends_everything(runs):
    (order,) = pruning.orders(bank.candidates(runs), count=1, seed=0)
    table = contenders()
    (none,) = table["none"]
    assert pruning.replay(runs, order, none).epochs == SEEDS * EPOCHS
    assert pruning.replay(runs, order, table["ours"][0]).epochs < SEEDS * EPOCHS


def test_an_interval_of_a_share_holds_the_share():
    low, high = claims.interval(5, 200)
    assert 0 < low < 2.5 < high < 6  # Clopper and Pearson: 0.82 to 5.74
    assert (low, high) == pytest.approx((0.82, 5.74), abs=0.01)
    assert claims.interval(0, 200)[0] == 0
    assert claims.interval(200, 200)[1] == 100


@pytest.mark.slow
@pytest.mark.parametrize("planted", claims.PLANTED.values(), ids=claims.PLANTED)
def test_few_studies_find_what_is_not_there_and_most_what_is(runs, planted):
    words = claims.count(runs, planted, range(20))
    found = sum("better than" in each for each in words)
    # Binomial, 20 studies: at a rate of 5 % four or more come in 1.6 % of the cases, and at 80 %
    # eleven or fewer in 1.0 %.
    assert found >= 12 if planted.evaluation else found <= 3
