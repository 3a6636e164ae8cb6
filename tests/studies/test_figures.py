from __future__ import annotations

import json
from dataclasses import replace
from math import log

import numpy as np
import pytest

from losses import LossSpec, published
from studies import figures
from studies.figures import PROBABILITIES, shape
from studies.gains import Gain
from studies.leaderboard import mean_gains
from studies.view import StudyView

LOSSES = published()
FOCAL, POLY1, CROSS_ENTROPY = LOSSES["focal"], LOSSES["poly1"], LOSSES["cross_entropy"]


def view(kept) -> StudyView:
    return StudyView.load(kept.database, kept.definition)


def names(figure) -> list[str]:
    """What the legend says."""
    return [trace.name for trace in figure.data if trace.name and trace.showlegend is not False]


def trace(figure, name: str):
    return next(each for each in figure.data if each.name == name)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("kept", set()),
        ("climbed", {"learning-curves", "loss-shapes", "parameters", "search-history", "ladder"}),
        (
            "done",
            {
                "learning-curves",
                "loss-shapes",
                "parameters",
                "search-history",
                "ladder",
                "test-split",
            },
        ),
    ],
)
def test_a_study_has_the_figures_that_it_has_come_to(request, stage: str, expected: set) -> None:
    found = figures.study_figures(view(request.getfixturevalue(stage)))
    assert set(found) == expected
    assert all(json.loads(figure.to_json())["data"] for figure in found.values() if figure.data)


def test_a_study_whose_trials_all_wait_has_no_history_to_draw(kept) -> None:
    kept.add_trial(None, state="WAITING")
    found = figures.study_figures(view(kept))
    assert set(found) == {"search-history"}
    assert list(found["search-history"].data) == []


def test_learning_curves_are_errors_beside_the_controls_mean(climbed) -> None:
    figure = figures.learning_curves(view(climbed).ladder)
    assert names(figure) == [
        "cross-entropy, 16 controls",
        "trial 3, 2 seeds",
        "trial 1, 2 seeds",
        "trial 2, 2 seeds",
    ]
    assert list(trace(figure, "cross-entropy, 16 controls").y) == pytest.approx([30, 20])
    assert list(trace(figure, "trial 3, 2 seeds").y) == pytest.approx([27, 17])
    assert list(trace(figure, "trial 3, 2 seeds").x) == [1, 2]


def test_the_band_is_a_deviation_wide(climbed) -> None:
    figure = figures.learning_curves(view(climbed).ladder)
    band = figure.data[0]
    deviation = np.std([1, -1] * 8, ddof=1)
    assert band.y[1] - band.y[-2] == pytest.approx(2 * deviation)


def test_cross_entropys_shape_is_known_by_hand() -> None:
    loss, pull = shape(CROSS_ENTROPY, 10, 1.0)
    assert loss == pytest.approx([-log(p) for p in PROBABILITIES])
    assert pull == pytest.approx([1 - p for p in PROBABILITIES])


def test_a_schedule_is_drawn_at_both_ends() -> None:
    moving = LossSpec(parameters={"gamma": {"shape": "linear", "start": 0.0, "end": 2.0}})
    figure = figures.loss_shapes({"trial 1": moving, "trial 2": FOCAL}, 10)
    assert names(figure) == [
        "cross-entropy",
        "trial 1, first epoch",
        "trial 1, last epoch",
        "trial 2",
    ]
    first = trace(figure, "trial 1, first epoch").y
    assert list(first) == pytest.approx(list(trace(figure, "cross-entropy").y))
    assert list(trace(figure, "trial 2").y) != pytest.approx(list(first))


def test_history_shows_each_trial_at_its_last_gain(make_trial) -> None:
    trials = [
        make_trial(FOCAL, 2.0, standard_error=0.5),
        make_trial(FOCAL, state="PRUNED", outcome="pruned"),  # its last report was -1
        make_trial(FOCAL, state="PRUNED", outcome="diverged"),
        make_trial(None, state="WAITING"),
        make_trial(FOCAL, state="RUNNING"),
        make_trial(POLY1, state="PRUNED", outcome="rejected", reason="does not teach: 100 steps"),
        make_trial(POLY1, state="FAIL", outcome="worker_died", reason="it died"),
    ]
    for trial in trials[4:]:
        trial.intermediate_values = {}
    for number, trial in enumerate(trials):
        trial.number = number
    figure = figures.search_history(trials)
    assert {each.name: (list(each.x), list(each.y)) for each in figure.data} == {
        "complete": ([0], [2.0]),
        "pruned": ([1], [-1.0]),
        "rejected": ([2, 5], [-1.0, -1.0]),  # at the foot, the second
        "failed": ([6], [-1.0]),
    }
    assert list(trace(figure, "complete").error_y.array) == [0.5]
    rejected = trace(figure, "rejected")
    assert rejected.marker.symbol == ("circle", "x")
    assert "does not teach: 100 steps" in rejected.text[1]


def test_a_gain_far_below_the_others_does_not_flatten_them(make_trial) -> None:
    gains = [1.0, 0.5, 0.0, -0.5, -1.0, -17.0]
    trials = [make_trial(FOCAL, gain) for gain in gains]
    for number, trial in enumerate(trials):
        trial.number = number
    (complete,) = figures.search_history(trials).data
    assert list(complete.y) == [1.0, 0.5, 0.0, -0.5, -1.0, -1.0]
    assert complete.marker.symbol[-2:] == ("circle", "triangle-down")
    assert "-17.00" in complete.text[-1]


def test_parameters_that_vary_have_panels_four_to_a_row(make_trial) -> None:
    trials = [make_trial(FOCAL, float(number)) for number in range(3)]
    for number, trial in enumerate(trials):
        trial.params = {f"p{index}": float(number * index) for index in range(7)}
    figure = figures.parameters(trials)
    titles = [each.text for each in figure.layout.annotations]
    assert titles == ["p1", "p2", "p3", "p4", "p5", "p6"]  # p0 is the same in every trial
    assert len({each.yaxis for each in figure.data}) == 6
    assert figure.layout.height > figures.parameters(trials[:1]).layout.height


def test_the_ladder_follows_each_candidate_as_far_as_it_came(done) -> None:
    seen = view(done)
    figure = figures.ladder_gains(seen.ladder, seen.rungs, seen.rows)
    steps = {each.name: list(each.x) for each in figure.data}
    assert steps == {
        "trial 3": ["search", "rung 1", "rung 2", "test split"],
        "trial 1": ["search", "rung 1", "rung 2", "test split"],  # evaluated as a baseline
        "trial 2": ["search", "rung 1"],
    }
    pick = trace(figure, "trial 3")
    assert list(pick.y) == pytest.approx([3.0, 1.5, 0.9, 3.0])
    half = pick.error_y.array
    assert half[0] == 0
    assert half[1] == pytest.approx(
        seen.rungs[0][1].gain.interval()[1] - seen.rungs[0][1].gain.mean
    )


def test_the_ladder_draws_every_candidate(kept) -> None:
    search = kept.definition.search.model_copy(update={"keep": 20})
    kept.definition = kept.definition.model_copy(update={"search": search})
    kept.add_controls()
    for number in range(20):
        loss = LossSpec(family="composite", parameters={"gamma": 0.1 * (number + 1)})
        kept.add_trial(loss, float(number))
    figure = figures.ladder_gains(view(kept).ladder, [], [])
    assert {each.name for each in figure.data} == {f"trial {number}" for number in range(20)}
    styles = {(each.line.color, each.line.dash) for each in figure.data}
    assert len(styles) == 18  # then they begin again


def test_the_ladder_ends_with_the_mean_over_the_searchs_benchmarks(done) -> None:
    seen = view(done)
    (pick,) = (row for row in seen.rows if row.trial == 3)
    hidden = replace(pick, benchmark="mobilenetv2-fmnist", gain=Gain(-7.0, 0.1, 9))
    figure = figures.ladder_gains(seen.ladder, seen.rungs, [*seen.rows, hidden])
    assert trace(figure, "trial 3").y[-1] == pytest.approx(3.0)
    benchmarks = ["resnet8-digits", "mobilenetv2-fmnist"]
    assert mean_gains([*seen.rows, hidden], benchmarks)[pick.spec.id].mean == pytest.approx(-2)


def test_test_accuracy_is_a_point_a_seed(done) -> None:
    figure = figures.test_accuracy(view(done).rows)
    assert {each.y[0]: list(each.x) for each in figure.data} == {
        "trial 3": [84, 82, 83],
        "focal": [81, 79.5, 80.5],
        "cross_entropy": [81, 79, 80, 81, 79, 80, 81, 79],
    }


@pytest.mark.parametrize(("count", "panels"), [(2, 0), (3, 1)])
def test_a_parameter_is_drawn_once_enough_trials_have_it(kept, count: int, panels: int) -> None:
    for value in range(count):
        kept.study.enqueue_trial({"gamma": float(value)})
        trial = kept.study.ask()
        trial.suggest_float("gamma", 0, 3)
        trial.suggest_categorical("gamma.shape", ["constant", "linear"])
        trial.set_user_attr("spec", FOCAL.to_dict())
        kept.study.tell(trial, value + 0.5)
    figure = figures.parameters(kept.study.get_trials())
    assert len(figure.data) == panels
    if panels:
        assert list(figure.data[0].x) == [0, 1, 2]
        assert list(figure.data[0].y) == [0.5, 1.5, 2.5]


def test_a_real_study_has_every_figure(real) -> None:
    found = figures.study_figures(StudyView.load(*real))
    assert len(found) == 6
    assert all(figure.data for name, figure in found.items() if name != "parameters")
