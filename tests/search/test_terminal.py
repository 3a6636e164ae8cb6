import re

from rich.console import Console

from search.runs import TrialUpdate
from search.terminal import Clock, LiveView, PlainView, duration, watching


def update(number: int, state: str, gain: float | None, **more) -> TrialUpdate:
    return TrialUpdate(
        number=number, name=f"loss {number}", state=state, done=3, epochs=9, gain=gain, **more
    )


def drawn(view: LiveView) -> str:
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(view)
    return capture.get()


def test_the_live_view_shows_trials_and_the_best():
    view = LiveView("study s", {"search": 90})
    assert "starting" in drawn(view)
    view.phase("search", 90)
    for number, gain in enumerate([0.1, 0.7, -0.2]):
        view.trial(update(number, "complete", gain))
    view.trial(update(3, "pruned", 0.9))
    view.trial(update(4, "running", None))
    view.trial(update(5, "rejected", None))
    view.worked(30)
    view.note("something happened")
    text = drawn(view)
    assert "best so far: trial 1, +0.70 points" in text
    assert "30/90 epochs" in text
    assert "3/9" in text
    assert "something happened" in text
    assert re.search(r"loss 5 .* rejected", text)


def test_only_the_latest_trials_are_listed():
    view = LiveView("study s", {})
    for number in range(40):
        view.trial(update(number, "complete", 0.0))
    assert "loss 39" in drawn(view)
    assert "loss 3 " not in drawn(view)


def test_plain_lines_say_how_trials_ended(capsys):
    view = PlainView(Console(stderr=True), "study [s]")
    view.phase("search", 90)
    view.phase("controls of rung 1", 0)
    view.trial(update(1, "running", 0.3))
    view.trial(update(1, "complete", 0.3))
    view.trial(update(2, "pruned", -0.5, reason="behind"))
    view.trial(update(3, "rejected", None, reason="does not teach"))
    assert capsys.readouterr().err.splitlines() == [
        "study [s]",
        "search: 90 epochs to train",
        "trial 1 +0.30 complete: loss 1",
        "trial 2 -0.50 pruned (behind): loss 2",
        "trial 3 rejected (does not teach): loss 3",
    ]


def test_without_a_terminal_lines_are_plain(capsys):
    with watching("title", {}) as view:
        assert isinstance(view, PlainView)


def test_the_time_left_counts_phases_to_come():
    clock = Clock({"controls": 10, "search": 30})
    assert clock.left is None
    clock.begin("controls", 10)
    clock.worked(10)
    assert abs(clock.left - 3 * clock.elapsed) < 0.1
    clock.begin("search", 20)
    clock.worked(20)
    assert clock.left == 0


def test_durations_read_well():
    assert [duration(s) for s in (0, 89, 90, 5399, 7200)] == [
        "0 s",
        "89 s",
        "2 min",
        "90 min",
        "2.0 h",
    ]
