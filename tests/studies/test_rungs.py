from __future__ import annotations

import numpy as np
import pytest

from losses import published
from studies.rungs import best_of
from studies.tables import Run
from studies.view import StudyView

LOSSES = published()


@pytest.mark.parametrize(("candidates", "mean"), [(1, 0), (2, 0.5642), (3, 0.8463), (16, 1.7660)])
def test_the_best_of_many_is_lucky(candidates: int, mean: float) -> None:
    """Order statistics of the standard normal distribution, as tabled."""
    assert best_of(candidates) == pytest.approx(mean, abs=1e-4)


def test_every_rung_says_what_it_cost_and_changed(climbed) -> None:
    climbed.evaluate(LOSSES["focal"], [84, 82, 83], trial=1)
    with climbed.database.transaction() as session:
        for run in session.query(Run):
            run.study_id = climbed.id
    search, first, second, tested = StudyView.load(climbed.database, climbed.definition).costs
    assert (search.runs, search.seconds) == (8 + 3 * 2, 1.5 * 14)
    assert (search.leader, search.gain, search.before, list(search.left)) == (3, 3.0, None, [])
    assert (first.runs, first.candidates) == (8 + 3 * 2, 3)
    assert (first.leader, first.gain, first.before, first.left) == (1, 2.5, 2.0, [2])
    assert (second.runs, second.leader, second.before, second.left) == (8 + 2 * 2, 3, 1.5, [1])
    assert (tested.name, tested.runs) == ("test split", 3)


def test_what_chance_shows_is_what_controls_show(climbed) -> None:
    """Losses that are all cross-entropy climb a rung: its leader gains that much on average."""
    view = StudyView.load(climbed.database, climbed.definition)
    rung, definition = view.costs[1], climbed.definition
    expectation = view.ladder.expectations(definition.rungs[1].epochs)["resnet8-digits"]
    rng = np.random.default_rng(5)
    seeds = definition.seeds(1)
    expected = {
        s: expectation.controls[s][-1] - expectation.gains(s, expectation.controls[s])[-1]
        for s in seeds
    }
    leaders = []
    for _ in range(2000):
        gains = [
            np.mean(
                [
                    expectation.gains(s, [0.0, expected[s] + rng.normal(0, residual)])[-1]
                    for s in seeds
                ]
            )
            for residual in [expectation.residual_E[-1]] * rung.candidates
        ]
        leaders.append(max(gains))
    assert np.mean(leaders) == pytest.approx(rung.by_chance, rel=0.06)
    assert f"the best of 3 losses that are all cross-entropy would show +{rung.by_chance:.2f}" in (
        rung.chance
    )


def test_a_study_that_has_just_begun_has_cost_nothing(kept) -> None:
    (search,) = StudyView.load(kept.database, kept.definition).costs
    assert (search.runs, search.candidates, search.leader, search.chance) == (0, 0, None, "")
