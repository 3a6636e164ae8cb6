"""Whole studies: the ladder, promotion, and two benchmarks at once."""

import re
from dataclasses import replace

import pytest
from sqlalchemy import select

from search.executors import Place
from search.promotion import Promotion
from search.runs import TrialUpdate
from search.summary import summarise
from studies.definition import EVALUATION_SEEDS
from studies.errors import StudyError
from studies.lease import alone
from studies.reading import parse
from studies.tables import Opening, Run
from studies.view import StudyView, trials_of
from tests.search import conftest
from training.custom import resolve

PROMOTED = conftest.TINY.replace("trials = 6", "trials = 4") + (
    "[promotion]\nautomatic = true\nepochs = 1\nseeds = [42, 123]\nagainst = ['label_smoothing']\n"
    "scales = [2.0]\n"
)


def test_the_ladder_and_promotion(home):
    definition = parse(PROMOTED, source="tiny.toml")
    home.run(definition, PROMOTED)
    view = StudyView.load(home.database, definition)

    (standings,) = view.rungs
    assert [each.stays for each in standings] == [True, False]
    assert len({each.number for each in standings}) == definition.search.keep
    assert view.claim.trial == standings[0].number

    seeds = {row.label: list(row.final) for row in view.rows}
    pick = next(row for row in view.rows if row.trial == standings[0].number)
    assert seeds["cross_entropy"] == [42, 123, *EVALUATION_SEEDS[2:8]]
    assert list(pick.final) == [42, 123]
    assert pick.gain is not None
    assert any("label_smoothing" in row.names for row in view.rows)
    assert "cross-entropy" in view.conclusion
    matched = [label for label in seeds if re.fullmatch(r"cross_entropy x[\d.]+", label)]
    assert "cross_entropy x2" in matched
    assert len(matched) == 2
    assert "a learning rate" in view.scale.words

    with home.database.transaction() as session:
        openings = session.scalars(select(Opening)).all()
        runs = session.scalars(select(Run)).all()
    tested = {(run.loss_id, run.seed) for run in runs if run.split == "evaluation"}
    assert {(each.loss_id, each.seed) for each in openings} == tested
    reserved = set(EVALUATION_SEEDS)
    assert not reserved & {run.seed for run in runs if run.split == "search"}

    note, another = home.watcher.notes
    first = len(tested) - 2  # how cross-entropy is to be scaled is known only from the pick's runs
    assert another.startswith("to train: 2 runs, 2 epochs, about")
    assert note.startswith(
        f"to train: {first} runs, {first} epochs; how long that takes on this cpu is "
        "not known yet for resnet8-digits; 2 seeds beside 8 of cross-entropy should find a gain of"
    )

    # Once more: everything is found, nothing is trained, and the test split stays shut.
    home.run(definition, PROMOTED)
    with home.database.transaction() as session:
        assert len(session.scalars(select(Opening)).all()) == len(openings)
        assert len(session.scalars(select(Run)).all()) == len(runs)
    assert len(home.watcher.notes) == 2

    home.promote(definition, Promotion(epochs=2))
    assert "epochs, about" in home.watcher.notes[-1]


def test_rungs_train_on_seeds_not_seen_before(home, tiny):
    home.run(tiny, total=4)
    with home.database.transaction() as session:
        runs = session.scalars(select(Run)).all()
    climbed = {run.seed for run in runs if run.trial is not None and run.seed in tiny.seeds(1)}
    assert climbed == set(tiny.seeds(1))
    assert not climbed & {*tiny.seeds(0), *tiny.baseline_seeds()}


STILL = """
[[benchmarks]]
name = "resnet8-still"
architecture = "resnet"
blocks = [1, 1, 1]
width = 8
data = "digits"
crop_padding = 0
"""
TWO = conftest.TINY.replace('["resnet8-digits"]', '["resnet8-digits", "resnet8-still"]') + STILL


def test_two_benchmarks_advance_together_also_when_interrupted(home, another_home, tmp_path):
    definition = parse(TWO, source="tiny.toml")
    still = resolve(definition.benchmarks[0].given, beside=tmp_path, folder=tmp_path)
    for each in (home, another_home):
        each.settings = replace(each.settings, place=Place(device="cpu", own=(still,)))
    another_home.run(definition, TWO, total=3)

    def interrupt(update: TrialUpdate) -> None:
        if (update.number, update.done) == (1, 6) and not interrupted:
            interrupted.append(update)
            raise KeyboardInterrupt

    interrupted: list[TrialUpdate] = []
    home.watcher.on_update = interrupt
    with pytest.raises(KeyboardInterrupt):
        home.run(definition, TWO, total=3)
    home.run(definition, TWO, total=3)

    for once, again in zip(
        trials_of(another_home.database, "tiny"), trials_of(home.database, "tiny"), strict=True
    ):
        assert once.intermediate_values == again.intermediate_values
        assert once.value == again.value
    first = trials_of(home.database, "tiny")[0]
    assert set(first.user_attrs["gain"]) == {"resnet8-digits", "resnet8-still"}
    assert first.value == pytest.approx(sum(first.user_attrs["gain"].values()) / 2, abs=1e-4)


def test_one_coordinator_at_a_time_on_sqlite(home, tiny):
    with (
        alone(home.database, "tiny"),
        pytest.raises(StudyError, match="study 'tiny' is already being run"),
    ):
        home.run(tiny)
    assert trials_of(home.database, "tiny") == []


def test_a_worker_pool_runs_the_same_study(home, tiny):
    home.settings = replace(home.settings, workers=2)
    home.run(tiny)
    trials = trials_of(home.database, "tiny")
    assert [trial.number for trial in trials] == list(range(6))
    assert all(trial.state.is_finished() for trial in trials)


SMALL = conftest.TINY.replace('"composite"', '"margin"').replace(
    'parameters = ["m", "eps", "gamma", "a1"]\nschedules = ["gamma"]\n', ""
)


def test_baselines_outside_the_space_are_run_beside_it(home):
    definition = parse(SMALL, source="tiny.toml")
    home.run(definition, SMALL, total=2)
    baselines = [trial.user_attrs.get("baseline") for trial in trials_of(home.database, "tiny")]
    assert baselines == ["cross_entropy", None]
    ladder = StudyView.load(home.database, definition).ladder
    gains = ladder.reference_gains()
    assert list(gains) == ["label_smoothing", "focal", "poly1"]
    assert all(gain.standard_error > 0 for gain in gains.values())
    assert "reference outside the space: focal" in summarise(
        StudyView.load(home.database, definition), "tiny.toml"
    )
