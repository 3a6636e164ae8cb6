import math
import subprocess
import sys

import pytest

from losses import LossError, Range, families


def a_range(**changes):
    return Range(**{"name": "x", "meaning": "", "latex": "x", "low": 0, "high": 1, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": 2}, "x must have low <= high but got 2, 1"),
        ({"neutral": 3}, "x must have low <= neutral <= high but got 0, 3, 1"),
        ({"log": True}, "x must have low above 0 to be log but got 0"),
        ({"above": 0}, "x must be above 0 but got 0"),
        ({"at_most": 0.5}, "x must be at most 0.5 but got 1"),
    ],
)
def test_a_range_checks_itself(changes, message):
    with pytest.raises(LossError) as error:
        a_range(**changes)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        ({}, [-1e300, 1e300], [math.inf, math.nan]),
        ({"at_least": 0, "below": 2}, [0, 1.999], [-1e-9, 2]),
        ({"above": -1, "at_most": 2}, [-0.999, 2], [-1, 2.001]),
    ],
)
def test_what_is_allowed_is_not_what_is_searched(bounds, inside, outside):
    range_ = a_range(**bounds)
    assert all(range_.allows(value) for value in inside)
    assert not any(range_.allows(value) for value in outside)


def test_what_is_allowed_in_words():
    assert a_range().allowed == "any finite number"
    assert a_range(at_least=0, below=2).allowed == "at least 0 and below 2"


def test_the_families_come_in_a_fixed_order():
    searched = {name: [r.name for r in family.parameters] for name, family in families().items()}
    assert list(searched.items()) == [
        ("composite", ["m", "tau", "eps", "gamma", "kappa", "a1", "a2", "beta", "lam", "mu"]),
        ("margin", ["m", "tau"]),
        ("temperature", ["tau"]),
        ("smoothing", ["eps"]),
        ("focal", ["gamma"]),
        ("generalised", ["kappa"]),
        ("polynomial", ["a1", "a2"]),
        ("penalty", ["beta", "lam", "mu"]),
        ("curriculum", ["tau", "eps", "gamma", "kappa"]),
        ("tempered", ["t1", "t2"]),
        ("active_passive", ["a", "b"]),
        ("taylor", ["th0", "th1", "th2", "th3", "th4", "th5", "th6", "th7"]),
        ("asymmetric", ["gp", "gn", "eps"]),
        ("logit_norm", ["tau"]),
        ("squentropy", ["c"]),
        ("ngl", ["alpha"]),
        ("sigmoid", ["a"]),
    ]


@pytest.mark.parametrize("family", families().values(), ids=lambda family: family.name)
def test_a_family_is_whole(family):
    names = [range_.name for range_ in family.parameters]
    assert len(set(names)) == len(names)
    assert set(family.scheduled) <= set(names)
    assert "scale" not in names
    assert families()[family.formula].formula == family.formula
    assert len({range_.neutral is None for range_ in family.parameters}) == 1
    assert family.description
    assert family.source


def test_only_a_curriculum_is_scheduled_by_default():
    assert [name for name, family in families().items() if family.scheduled] == ["curriculum"]


def test_reading_the_table_needs_no_torch():
    code = (
        "import sys, losses; losses.families(); losses.published(); print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
