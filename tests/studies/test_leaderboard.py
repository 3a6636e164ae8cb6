from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from losses import LossSpec, published
from studies.claims import Claim, verdict
from studies.leaderboard import gains_by_run, leaderboard, mean_and_deviation
from studies.tables import Evaluation

LOSSES = published()
CROSS_ENTROPY, FOCAL, POLY1 = (LOSSES[name] for name in ("cross_entropy", "focal", "poly1"))
SEEDS = (42, 123, 456, 1001, 1002, 1003, 1004, 1005)
CLAIM = Claim(trial=3, loss=FOCAL.id, seeds=[42, 123, 456], epochs={"resnet8-digits": 2})


@pytest.fixture
def evaluated(make_evaluation):
    """Evaluations of a loss on the first seeds, one for each final accuracy."""

    def make(loss: LossSpec, finals: Sequence[float], **key: object) -> list[Evaluation]:
        return [
            make_evaluation(loss, seed, final, **key)
            for seed, final in zip(SEEDS, finals, strict=False)
        ]

    return make


@pytest.fixture
def controls(evaluated):
    """Cross-entropy: 80 % on the mean of eight seeds, and of the first three."""

    def make(count: int = 8, **key: object) -> list[Evaluation]:
        return evaluated(CROSS_ENTROPY, [81, 79, 80, 81, 79, 80, 81, 79][:count], **key)

    return make


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
    assert LossSpec.from_dict(focal["spec"]) == FOCAL
    assert cross_entropy["gain"] is None


@pytest.mark.parametrize(
    ("finals", "shown", "words"),
    [
        ([86, 84, 85], True, "better than cross-entropy: +5.00 points, 95 % interval"),
        ([81.2, 79.2, 80.2], False, "not shown to differ from cross-entropy: +0.20 points"),
        ([76, 74, 75], False, "not shown to differ from cross-entropy: -5.00 points"),
    ],
)
def test_the_verdict_says_what_is_shown(controls, evaluated, finals, shown, words) -> None:
    found = verdict(controls() + evaluated(FOCAL, finals, trial=3), CLAIM)
    assert found is not None
    assert found.shown is shown
    assert found.words.startswith(words)
    assert "3 seeds" in found.words
    assert ("four cases of five" in found.words) is not shown


def test_better_means_at_most_one_error_in_forty(controls, evaluated) -> None:
    """The gain is moved past the limit and back: nothing else decides."""
    reference = verdict(controls() + evaluated(FOCAL, [81, 79, 80], trial=3), CLAIM)
    assert reference is not None
    low, _ = reference.gain.interval()
    limit = reference.gain.mean - low  # a two-sided 95 % interval leaves 2.5 % below it
    for gain, shown in ((limit - 0.01, False), (limit + 0.01, True)):
        finals = [81 + gain, 79 + gain, 80 + gain]
        found = verdict(controls() + evaluated(FOCAL, finals, trial=3), CLAIM)
        assert found is not None
        assert found.shown is shown
        assert (found.gain.p_value <= 0.025) is shown


@pytest.mark.parametrize(
    ("finals", "count", "key"),
    [
        ([86, 84], 8, {}),  # a seed is missing
        ([86, 84, 85], 8, {"epochs": 4}),
        ([86, 84, 85], 7, {}),
        ([86, 84, 85], 8, {"benchmark": "resnet20-cifar10"}),
    ],
)
def test_no_verdict_while_something_is_missing(controls, evaluated, finals, count, key) -> None:
    board = controls(count, **key) + evaluated(FOCAL, finals, trial=3, **key)
    assert verdict(board, CLAIM) is None


def test_no_verdict_on_a_loss_that_was_not_evaluated(controls, evaluated) -> None:
    assert verdict(controls() + evaluated(POLY1, [86, 84, 85], name="poly1"), CLAIM) is None
    assert verdict([], CLAIM) is None


def test_seeds_added_later_do_not_count(controls, evaluated) -> None:
    claimed = controls() + evaluated(FOCAL, [81, 79, 80], trial=3)
    later = controls() + evaluated(FOCAL, [81, 79, 80, 99, 99, 99], trial=3)
    before, after = verdict(claimed, CLAIM), verdict(later, CLAIM)
    assert before is not None
    assert before == after


def test_a_claim_on_two_benchmarks_is_on_their_mean(controls, evaluated) -> None:
    other = {"benchmark": "resnet20-cifar10"}
    claim = replace(CLAIM, epochs={"resnet8-digits": 2, "resnet20-cifar10": 2})
    one = controls() + evaluated(FOCAL, [84, 82, 83], trial=3)
    assert verdict(one, claim) is None
    both = one + controls(**other) + evaluated(FOCAL, [80, 78, 79], trial=3, **other)
    found = verdict(both, claim)
    assert found is not None
    assert found.gain.mean == pytest.approx((3 - 1) / 2)


@pytest.mark.parametrize(
    ("values", "expected"),
    [({42: 71.673}, "71.67"), ({42: 71.67, 123: 72.58, 456: 72.00}, "72.08 (0.46)")],
)
def test_a_mean_is_shown_with_its_deviation(values: dict[int, float], expected: str) -> None:
    assert mean_and_deviation(values) == expected
