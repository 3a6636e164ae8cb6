from __future__ import annotations

import pytest

from losses import published
from studies.database import Database
from studies.errors import StudyError
from studies.view import StudyView, trials_of

LOSSES = published()


def test_a_study_that_was_never_started_is_said(database: Database, definition) -> None:
    assert trials_of(database, "kept") == []
    with pytest.raises(StudyError, match="study 'kept' was never started here"):
        StudyView.load(database, definition)


def test_a_study_that_has_just_begun_is_empty(kept) -> None:
    view = StudyView.load(kept.database, kept.definition)
    assert (view.total, list(view.trials), view.status["best"]) == (8, [], None)
    assert (list(view.rungs), list(view.rows), view.claim, view.verdict) == ([], [], None, None)


def test_a_ladder_is_shown_as_far_as_it_was_climbed(climbed) -> None:
    view = StudyView.load(climbed.database, climbed.definition)
    assert view.status["trials"]["complete"] == 4
    assert view.status["best"]["trial"] == 3
    first, second = view.rungs
    assert [(each.number, each.stays) for each in first] == [(1, True), (3, True), (2, False)]
    assert [(each.number, each.stays) for each in second] == [(3, True), (1, False)]
    assert second[0].gain.mean == pytest.approx(0.9)
    assert view.verdict is None


def test_a_promoted_study_has_a_verdict(promoted) -> None:
    view = StudyView.load(promoted.database, promoted.definition)
    assert [row.label for row in view.rows] == ["trial 3", "focal", "cross_entropy"]
    assert view.claim is not None
    assert view.claim.trial == 3
    assert view.verdict is not None
    assert view.verdict.gain.mean == pytest.approx(3.0)
    assert view.verdict.words.startswith("better than cross-entropy: +3.00 points")


def test_more_seeds_for_the_pick_leave_the_verdict_alone(promoted) -> None:
    before = StudyView.load(promoted.database, promoted.definition)
    promoted.evaluate(LOSSES["label_smoothing"], [84, 82, 83, 20, 20], trial=3)
    after = StudyView.load(promoted.database, promoted.definition)
    assert len(after.rows[-1].final) == 5
    assert after.verdict == before.verdict


def test_evaluations_without_a_claim_have_no_verdict(climbed) -> None:
    climbed.evaluate(LOSSES["focal"], [84, 82, 83], trial=1)
    view = StudyView.load(climbed.database, climbed.definition)
    assert len(view.rows) == 1
    assert view.verdict is None


def test_two_studies_of_one_database_keep_apart(promoted, definition) -> None:
    other = definition.model_copy(update={"name": "other"})
    mine = type(promoted)(promoted.database, other)
    mine.add_trial(LOSSES["focal"], 0.1)
    view = StudyView.load(promoted.database, other)
    assert (len(view.trials), list(view.rows), view.claim) == (1, [], None)


def test_runs_of_another_study_do_not_stand_without_controls(climbed, definition) -> None:
    """The same trials, whose ladder another study has climbed: it has controls, this one none."""
    mine = type(climbed)(climbed.database, definition.model_copy(update={"name": "again"}))
    for name, value in (("focal", 2.0), ("poly1", 1.0), ("label_smoothing", 3.0)):
        mine.add_trial(LOSSES[name], value)
    view = StudyView.load(mine.database, mine.definition)
    assert list(view.rungs) == []


def test_a_real_study_is_whole(real) -> None:
    database, definition = real
    view = StudyView.load(database, definition)
    assert len(view.trials) == view.total == 5
    assert len(view.rungs) == 1
    assert {row.label for row in view.rows} >= {"cross_entropy"}
    assert view.claim is not None
    assert view.verdict is not None
    assert view.verdict.words.startswith(("better than", "not shown"))
