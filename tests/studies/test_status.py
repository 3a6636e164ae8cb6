from __future__ import annotations

import json

import pytest

from losses import published
from studies.status import best_trial, describe, kind, status

LOSSES = published()
FOCAL = LOSSES["focal"]

KINDS = [
    ("COMPLETE", {"outcome": "complete"}, "complete"),
    ("PRUNED", {"outcome": "pruned"}, "pruned"),
    ("PRUNED", {"outcome": "rejected"}, "rejected"),
    ("PRUNED", {"outcome": "diverged"}, "rejected"),
    ("FAIL", {"outcome": "out_of_memory"}, "failed"),
    ("FAIL", {"outcome": "worker_died"}, "failed"),
    ("FAIL", {}, "failed"),
    ("RUNNING", {}, "running"),
    ("WAITING", {}, "waiting"),
]


def value_of(state: str) -> float | None:
    return 1.0 if state == "COMPLETE" else None


@pytest.mark.parametrize(("state", "attributes", "expected"), KINDS)
def test_a_trial_is_of_one_kind(make_trial, state, attributes, expected) -> None:
    assert kind(make_trial(FOCAL, value_of(state), state=state, **attributes)) == expected


def test_every_trial_is_counted_once(make_trial) -> None:
    trials = [
        make_trial(FOCAL, value_of(state), state=state, **attributes)
        for state, attributes, _ in KINDS
    ]
    found = status("mine", 40, trials, [])
    assert (found["study"], found["total"]) == ("mine", 40)
    assert found["trials"] == {
        "complete": 1,
        "pruned": 1,
        "rejected": 2,
        "failed": 3,
        "running": 1,
        "waiting": 1,
    }


def test_a_study_without_trials_has_no_best() -> None:
    assert status("mine", 4, [], []) == {
        "study": "mine",
        "total": 4,
        "trials": dict.fromkeys(
            ("complete", "pruned", "rejected", "failed", "running", "waiting"), 0
        ),
        "best": None,
        "promoted": [],
    }


@pytest.mark.parametrize(
    ("values", "expected"), [([1.0, 3.0, 2.0], 3.0), ([-3.0, -1.0], -1.0), ([0.0], 0.0)]
)
def test_the_best_trial_has_the_highest_gain(make_trial, values, expected: float) -> None:
    trials = [make_trial(FOCAL, value) for value in values]
    trials.append(make_trial(FOCAL, state="PRUNED", outcome="pruned"))
    best = best_trial(trials)
    assert best is not None
    assert best.value == expected


def test_cross_entropy_is_never_the_best(make_trial) -> None:
    """Its gain over itself is the luck of its seeds."""
    trials = [make_trial(LOSSES["cross_entropy"], 2.0), make_trial(FOCAL, -1.0)]
    assert best_trial(trials).value == -1.0
    assert best_trial(trials[:1]) is None


def test_a_trial_is_described_by_its_loss_and_gain(make_trial) -> None:
    described = json.loads(json.dumps(describe(make_trial(FOCAL, 0.84321, standard_error=0.1))))
    assert described["gain"] == 0.8432
    assert described["standard_error"] == 0.1
    assert described["spec"] == FOCAL.to_dict()
    assert described["formula"] == FOCAL.formula


def test_what_was_promoted_is_listed_run_by_run(make_evaluation) -> None:
    evaluations = [
        make_evaluation(FOCAL, 42, 98.4, trial=3),
        make_evaluation(FOCAL, 42, 98.4, name="focal"),  # a baseline, no trial of the study
    ]
    evaluations[0].run.curves["accuracy"] = [98.6, 98.4]
    assert status("mine", 4, [], evaluations)["promoted"] == [
        {
            "trial": 3,
            "name": "trial 3",
            "benchmark": "resnet8-digits",
            "seed": 42,
            "epochs": 2,
            "best_accuracy": 98.6,
            "final_accuracy": 98.4,
        }
    ]
