from __future__ import annotations

import json
from dataclasses import replace

import pytest

from losses import LossSpec, published
from studies.claims import Claim
from studies.leaderboard import (
    gains_by_run,
    leaderboard,
    mean_and_deviation,
    secondary_findings,
)
from studies.tables import Evaluation

LOSSES = published()
CROSS_ENTROPY, FOCAL, POLY1 = (LOSSES[name] for name in ("cross_entropy", "focal", "poly1"))
CLAIM = Claim(trial=3, loss=FOCAL.id, seeds=[42, 123, 456], epochs={"resnet8-digits": 2})


def summary(evaluations: list[Evaluation]) -> list[tuple[str, float | None]]:
    return [
        (row.label, None if row.gain is None else round(row.gain.mean, 6))
        for row in leaderboard(evaluations)
    ]


def test_nothing_evaluated_is_an_empty_board() -> None:
    assert leaderboard([]) == []


def test_the_most_accurate_comes_first(controls, evaluated) -> None:
    board = [
        *evaluated(POLY1, [80, 78, 79], name="poly1"),
        *controls(name="cross_entropy"),
        *evaluated(FOCAL, [84, 82, 83], trial=3),
    ]
    assert summary(board) == [("trial 3", 3.0), ("cross_entropy", None), ("poly1", -1.0)]


def test_a_row_holds_every_seed(evaluated) -> None:
    (row,) = leaderboard(evaluated(FOCAL, [84, 82, 83], trial=3))
    assert row.final == {42: 84, 123: 82, 456: 83}
    assert row.best == row.final
    assert (row.trial, row.spec, row.epochs, row.device) == (3, FOCAL, 2, "cpu")


def test_a_loss_evaluated_under_two_names_stands_once(controls, evaluated) -> None:
    board = [
        *controls(),
        *evaluated(FOCAL, [84, 82, 83], trial=3),
        *evaluated(FOCAL, [84, 82, 83], name="focal"),
    ]
    row = leaderboard(board)[0]
    assert (row.label, row.trial, len(row.final)) == ("focal, trial 3", 3, 3)
    assert row.gain == leaderboard(board[:-3])[0].gain


@pytest.mark.parametrize(("count", "known"), [(0, False), (7, False), (8, True)])
def test_a_gain_needs_eight_controls(controls, evaluated, count: int, known: bool) -> None:
    board = controls(count) + evaluated(FOCAL, [84, 82, 83], name="focal")
    focal = next(row for row in leaderboard(board) if row.label == "focal")
    assert (focal.gain is not None) is known
    assert bool(gains_by_run(board)) is known


@pytest.mark.parametrize(
    "other",
    [{"epochs": 4}, {"device": "cuda"}, {"protocol": "0" * 12}, {"benchmark": "resnet20-cifar10"}],
)
def test_what_was_trained_otherwise_stands_apart(controls, evaluated, other: dict) -> None:
    mine = [*controls(4), *evaluated(FOCAL, [84, 82, 83], name="focal")]
    theirs = [
        *evaluated(CROSS_ENTROPY, [0, 0, 0, 0, 61, 59, 61, 59], **other)[4:],
        *evaluated(FOCAL, [64, 62, 64, 62], name="focal", **other),
    ]
    rows = leaderboard(mine + theirs)
    assert len(rows) == 4
    assert all(row.gain is None for row in rows)  # four controls each do not make eight
    assert {tuple(row.final.values()) for row in rows if row.spec == FOCAL} == {
        (84, 82, 83),
        (64, 62, 64, 62),
    }


def test_gains_are_over_controls_of_the_same_kind(controls, evaluated) -> None:
    board = [
        *controls(),
        *evaluated(FOCAL, [84, 82, 83], name="focal"),
        *evaluated(CROSS_ENTROPY, [51, 49, 50, 51, 49, 50, 51, 49], device="cuda"),
        *evaluated(FOCAL, [52, 50, 51], name="focal", device="cuda"),
    ]
    gains = {row.device: row.gain.mean for row in leaderboard(board) if row.gain is not None}
    assert gains == pytest.approx({"cpu": 3.0, "cuda": 1.0})


def test_each_run_has_its_gain(controls, evaluated) -> None:
    board = controls() + evaluated(FOCAL, [84, 82, 85], name="focal")
    for number, each in enumerate(board):
        each.run.id = number
    gains = gains_by_run(board)
    assert list(gains) == [8, 9, 10]  # cross-entropy itself has none
    expected = leaderboard(board)[0].gain
    assert expected is not None
    assert sum(gains.values()) / 3 == pytest.approx(expected.mean, abs=1e-3)


def test_a_row_is_ready_for_json(controls, evaluated) -> None:
    board = controls() + evaluated(FOCAL, [84, 82, 83], trial=3)
    focal, cross_entropy = (json.loads(json.dumps(row.to_dict())) for row in leaderboard(board))
    assert focal["seeds"] == [42, 123, 456]
    assert focal["final_accuracy"] == [84, 82, 83]
    assert focal["gain"]["mean"] == pytest.approx(3)
    assert focal["gain"]["interval_95"][0] < 3 < focal["gain"]["interval_95"][1]
    assert focal["gain"]["smallest_found"] > 0
    assert focal["final"] == {"n": 3, "mean": 83, "deviation": 1}
    assert focal["pooled_degrees_of_freedom"] == 2
    assert focal["p_adjusted"] == focal["gain"]["p_two_sided"]
    assert LossSpec.from_dict(focal["spec"]) == FOCAL
    assert cross_entropy["gain"] is None


def test_all_but_the_claim_is_secondary(controls, evaluated) -> None:
    board = [
        *controls(),
        *evaluated(FOCAL, [86, 84, 85.3], trial=3),
        *evaluated(POLY1, [81, 78.5, 80], name="poly1"),
        *evaluated(LOSSES["temperature"], [86.3, 84, 85], name="temperature"),
    ]
    rows = {row.spec.id: row for row in leaderboard(board, CLAIM)}
    primary, poly1, other = (rows[each.id] for each in (FOCAL, POLY1, LOSSES["temperature"]))
    assert primary.primary
    assert primary.adjusted is None
    assert primary.p_words == f"primary {primary.gain.p_value:.3f}"
    assert not poly1.primary
    assert other.adjusted == pytest.approx(2 * other.gain.p_two_sided)
    assert poly1.adjusted == pytest.approx(max(poly1.gain.p_two_sided, other.adjusted))
    (finding,) = secondary_findings(leaderboard(board, CLAIM))
    assert finding.startswith("secondary, Holm-adjusted p = 0.0")
    assert "temperature on resnet8-digits, +5.1" in finding
    assert "better than" not in finding


@pytest.mark.parametrize("change", [{"seeds": [42, 123]}, {"device": "cuda"}, {"loss": POLY1.id}])
def test_a_row_that_was_not_claimed_is_secondary(controls, evaluated, change) -> None:
    board = controls() + evaluated(FOCAL, [86, 84, 85], trial=3)
    (focal, _) = leaderboard(board, replace(CLAIM, **change))
    assert not focal.primary
    assert focal.adjusted == pytest.approx(focal.gain.p_two_sided)


def test_the_primary_row_has_the_claims_own_numbers(controls, evaluated) -> None:
    """A noisy loss that was added later does not widen what was planned without it."""
    claim = replace(CLAIM, losses=[FOCAL.id, CROSS_ENTROPY.id])
    board = controls() + evaluated(FOCAL, [86, 84, 85.3], trial=3)
    (before, *_) = leaderboard(board, claim)
    (after, *_) = leaderboard(board + evaluated(POLY1, [70, 30, 50], name="poly1"), claim)
    assert after.primary
    assert after.gain == before.gain


@pytest.mark.parametrize(
    ("values", "expected"),
    [({42: 71.673}, "71.67"), ({42: 71.67, 123: 72.58, 456: 72.00}, "72.08 (0.46)")],
)
def test_a_mean_is_shown_with_its_deviation(values: dict[int, float], expected: str) -> None:
    assert mean_and_deviation(values) == expected
