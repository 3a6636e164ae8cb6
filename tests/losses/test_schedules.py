import math

import pytest

from losses import LossError, Schedule


@pytest.mark.parametrize("shape", ["linear", "cosine", "switch"])
@pytest.mark.parametrize(("start", "end"), [(0.1, 0.7), (0.7, 0.1), (1e9, 1e-9), (-3.0, 0.3)])
def test_a_schedule_starts_and_ends_exactly_where_it_says(shape, start, end):
    schedule = Schedule(shape, start, end, 0.5 if shape == "switch" else None)
    assert schedule(0.0) == start
    assert schedule(1.0) == end


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        (Schedule("linear", 0.0, 2.0), 0.25, 0.5),
        (Schedule("cosine", 0.0, 2.0), 0.25, 1 - math.sqrt(0.5)),
        (Schedule("cosine", 2.0, 0.0), 0.5, 1.0),
        (Schedule("switch", 0.0, 2.0, at=0.3), 0.2999, 0.0),
        (Schedule("switch", 0.0, 2.0, at=0.3), 0.3, 2.0),
        (Schedule("switch", 0.0, 2.0, at=1.0), 0.9999, 0.0),
    ],
)
def test_a_schedule_between_its_ends(schedule, progress, expected):
    assert schedule(progress) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("progress", [-0.01, 1.01, math.nan])
def test_progress_lies_between_0_and_1(progress):
    with pytest.raises(LossError, match="progress must be at least 0 and at most 1 but got"):
        Schedule("linear", 0.0, 1.0)(progress)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"shape": "step", "start": 0, "end": 1}, "unknown shape 'step': choose one of linear"),
        ({"shape": ["linear"], "start": 0, "end": 1}, "unknown shape ['linear']"),
        ({"shape": "linear", "start": 0}, "needs the key 'end'"),
        ({"shape": "linear", "start": 0, "end": 1, "stop": 2}, "unknown key 'stop'"),
        ({"shape": "linear", "start": "0", "end": 1}, "start must be a number but got '0'"),
        ({"shape": "linear", "start": 0, "end": math.inf}, "end must be finite but got inf"),
        ({"shape": "linear", "start": 0, "end": 1, "at": 0.5}, "at belongs to a switch"),
        ({"shape": "switch", "start": 0, "end": 1}, "a switch needs the key 'at'"),
        ({"shape": "switch", "start": 0, "end": 1, "at": True}, "at must be a number"),
        ({"shape": "switch", "start": 0, "end": 1, "at": 0}, "at must be above 0 and at most 1"),
        ({"shape": "switch", "start": 0, "end": 1, "at": 1.1}, "at must be above 0 and at most 1"),
        (["linear", 0, 1], "a schedule must be an object"),
    ],
)
def test_what_a_schedule_refuses(form, message):
    with pytest.raises(LossError) as error:
        Schedule.from_dict(form)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "schedule", [Schedule("cosine", 0, 2), Schedule("switch", 0.1, 0.0, at=0.25)]
)
def test_the_json_form_says_it_all(schedule):
    assert Schedule.from_dict(schedule.to_dict()) == schedule


def test_as_text():
    assert str(Schedule("linear", 0, 2)) == "0 -> 2 (linear)"
    assert str(Schedule("switch", 0.1, 0, at=1 / 3)) == "0.1 -> 0 (switch at 0.3333)"
