"""How many runs at once: by measurement, and fewer where memory runs out."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from losses import CustomLoss
from search import runs, width
from search.evaluation import Entry
from search.executors import Failed, Place
from search.launch import evaluate_loss
from search.width import settle, widen
from search.workers import Workers
from studies.reading import parse
from studies.tables import Run
from studies.view import trials_of
from tests.search import conftest
from training.custom import resolve

ROOM_FOR_ONE = """
import fcntl
from pathlib import Path

folder = Path({folder!r})

def allocate():
    global room
    room = (folder / "room").open("a")
    try:
        fcntl.lockf(room, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process ends
    except OSError:
        bytearray(1 << 48)
"""
"""A device whose memory holds one worker, as far as who calls ``allocate`` can tell."""

GREEDY = (
    ROOM_FOR_ONE
    + """
allocate()

def compute_loss(logits, targets, config):
    return F.cross_entropy(logits, targets)
"""
)

NETS = (
    ROOM_FOR_ONE
    + """
from torch import nn

def build(num_classes):
    if (folder / "full").exists():
        allocate()
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, num_classes),
    )
"""
)

OWN = """
[[benchmarks]]
name = "greedy-digits"
architecture = "greedy_nets:build"
data = "digits"
crop_padding = 1
cpu_threads = 1
"""
STUDY = (
    conftest.TINY.replace("resnet8-digits", "greedy-digits").replace(
        "warmup = 0\nconfidence = 0.6", 'name = "none"'
    )
    + OWN
)


@pytest.fixture
def greedy(tmp_path: Path) -> Place:
    """A place with a benchmark that finds room once at a time, where a file "full" is."""
    (tmp_path / "greedy_nets.py").write_text(NETS.format(folder=str(tmp_path)))
    (table,) = parse(STUDY, source="tiny.toml").benchmarks
    return Place(device="cpu", own=(resolve(table.given, beside=tmp_path, folder=tmp_path),))


@pytest.fixture
def workers(greedy: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setattr(width, "SECONDS", 0.2)
    made = Workers(greedy, 1)
    yield made
    made.close()


def curves(home: conftest.Home) -> dict[tuple[str, int], dict[str, list[float]]]:
    with home.database.transaction() as session:
        found = session.scalars(select(Run).where(Run.benchmark == "greedy-digits"))
        return {(run.loss_id, run.seed): run.curves for run in found}


def no_room() -> Failed:
    return Failed("job", "no_room", "memory ran out")


SPEEDS = {
    "two pay": ([1.0, 1.9, 1.95, 3.0], 64, 2, "with 1: 1.00, with 2: 1.90, with 3: 1.95"),
    "one is best": ([2.0, 1.6], 64, 1, "with 1: 1.00, with 2: 0.80"),
    "no more may be tried": ([1.0, 2.0], 2, 2, "with 1: 1.00, with 2: 2.00"),
    "no more fit": ([2.0, 4.0, None], 64, 2, "with 1: 1.00, with 2: 2.00, with 3: no room"),
    "not one fits": ([None], 64, 1, "with 1: no room"),
    "steps grow": (
        [1.0, 2.0, 3.0, 4.0, 6.0, 8.0],
        8,
        8,
        "with 1: 1.00, with 2: 2.00, with 3: 3.00, with 4: 4.00, with 6: 6.00, with 8: 8.00",
    ),
}


@pytest.mark.parametrize(("speeds", "most", "chosen", "told"), SPEEDS.values(), ids=SPEEDS)
def test_the_width_that_paid_last_is_chosen(speeds, most, chosen, told):
    measured = iter(speeds)
    assert widen(lambda _: next(measured) or no_room(), most) == (chosen, told)


def test_a_width_is_measured_and_its_workers_are_kept(workers):
    first = workers._workers[0].process.pid
    told = settle(workers, "greedy-digits")
    number = r"\d+\.\d\d"
    found = re.fullmatch(rf"workers: (\d+) \(speed with 1: 1.00(, with \d+: {number})*\)", told)
    assert found, told
    assert workers.free == int(found[1]) <= (os.cpu_count() or 1)
    assert workers._workers[0].process.pid == first


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core is never shared")
def test_what_does_not_fit_is_not_chosen(workers, tmp_path):
    (tmp_path / "full").touch()
    assert settle(workers, "greedy-digits") == "workers: 1 (speed with 1: 1.00, with 2: no room)"
    assert workers.free == 1


@pytest.mark.slow
def test_memory_that_runs_out_beside_others_costs_a_worker_and_no_try(home, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "ATTEMPTS", 1)
    home.settings = replace(home.settings, workers=3)
    loss = CustomLoss("greedy.py", GREEDY.format(folder=str(tmp_path)))
    entry = Entry(name="greedy.py", spec=loss, seeds=[42, 123, 456, 789])
    found = evaluate_loss(home.settings, entry, ["resnet8-digits"], home.watching, epochs=1)
    assert [each["seed"] for each in found] == entry.seeds
    assert home.watcher.notes[1:] == [
        f"memory ran out beside other runs: {left} at once from now on, and one more try"
        for left in (2, 1)
    ]


def test_trials_that_find_no_room_wait_and_end_as_they_would_have(
    home, another_home, greedy, tmp_path
):
    definition = parse(STUDY, source="tiny.toml")
    for each in (home, another_home):
        each.settings = replace(each.settings, place=greedy)
    another_home.run(definition, STUDY, total=4)
    home.run(definition, STUDY, total=1)
    (tmp_path / "full").touch()
    home.settings = replace(home.settings, workers=2)
    home.run(definition, STUDY, total=4)

    (note,) = home.watcher.notes
    assert note.startswith("memory ran out beside other runs: 1 at once")
    trials = trials_of(home.database, "tiny")
    assert [trial.user_attrs.get("outcome") for trial in trials] == ["complete"] * 4
    assert [
        trial.user_attrs["attempts"] for trial in trials if "attempts" in trial.user_attrs
    ] == [0]
    assert curves(home) == curves(another_home)
