from __future__ import annotations

import numpy as np
import pytest

from losses import published
from studies.fidelity import agreement, agreements
from studies.view import StudyView

LOSSES = published()


def gains(values: list[float]) -> dict[str, float]:
    return {f"loss {number:02}": value for number, value in enumerate(values)}


def test_seven_losses_are_too_few_to_tell() -> None:
    found = agreement("a", "b", gains([1.0] * 3 + [2.0] * 4), gains([1.0] * 7))
    assert (found.losses, found.tau) == (7, None)
    assert found.words == "whether a ranks losses as b does: too few to tell (7 run at both)"


@pytest.mark.parametrize(
    ("order", "tau", "start"),
    [
        (range(12), 1.0, "a can be trusted to rank losses as b does: tau +1.00"),
        (range(12, 0, -1), -1.0, "a is not shown to rank losses as b does: tau -1.00"),
        ([3, 9, 1, 7, 5, 2, 8, 6, 4, 0, 11, 10], 10 / 66, "a is not shown to rank"),
    ],
)
def test_a_proxy_is_trusted_where_its_ranks_agree(order, tau, start) -> None:
    """Of 66 pairs, tau is the share in the same order less the share in the other."""
    values = [float(each) for each in order]
    found = agreement("a", "b", gains([float(each) for each in range(12)]), gains(values))
    concordant = sum(np.sign(b - a) for i, a in enumerate(values) for b in values[i + 1 :])
    assert found.tau == pytest.approx(concordant / 66)
    assert found.tau == pytest.approx(tau)
    assert found.low - 1e-9 <= found.tau <= found.high + 1e-9
    assert found.words.startswith(start)
    assert "12 losses" in found.words


def test_the_interval_is_the_same_every_time() -> None:
    rng = np.random.default_rng(6)
    first, second = gains(rng.normal(size=10).tolist()), gains(rng.normal(size=10).tolist())
    assert agreement("a", "b", first, second) == agreement("a", "b", first, second)


def test_losses_that_all_gain_alike_have_no_ranks() -> None:
    found = agreement("a", "b", gains([1.0] * 9), gains([float(each) for each in range(9)]))
    assert found.tau is None
    assert "too few to tell" in found.words


def test_every_two_fidelities_of_a_study_are_compared(promoted) -> None:
    view = StudyView.load(promoted.database, promoted.definition)
    found = agreements(view.ladder, view.rows)
    assert [(each.cheap, each.dear, each.losses) for each in found] == [
        ("the search", "rung 1", 3),
        ("the search", "rung 2", 2),
        ("the search", "the test split", 2),
        ("rung 1", "rung 2", 2),
        ("rung 1", "the test split", 2),
        ("rung 2", "the test split", 2),
    ]
