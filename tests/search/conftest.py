"""A tiny study on real digits, and what it takes to run one in a test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from search.executors import Place
from search.launch import Settings, promote_study, run_study
from search.promotion import Promotion
from search.runs import TrialUpdate
from studies.database import Database, parse_url
from studies.definition import StudyDefinition
from studies.reading import parse

TINY = """
name = "tiny"
[search]
benchmarks = ["resnet8-digits"]
trials = 6
epochs = 2
seeds = 2
keep = 2
[space]
family = "composite"
parameters = ["m", "eps", "gamma", "a1"]
schedules = ["gamma"]
[sampler]
startup = 4
[pruner]
warmup = 0
confidence = 0.6
[[ladder]]
epochs = 2
seeds = 2
keep = 1
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # the networks are tiny: threads only wait for each other


@pytest.fixture
def tiny() -> StudyDefinition:
    return parse(TINY, source="tiny.toml")


class Recorder:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.updates: list[TrialUpdate] = []
        self.notes: list[str] = []
        self.on_update: Callable[[TrialUpdate], None] = lambda update: None

    def phase(self, name: str, epochs: int) -> None:
        self.phases.append(name)

    def worked(self, epochs: int) -> None:
        pass

    def trial(self, update: TrialUpdate) -> None:
        self.updates.append(update)
        self.on_update(update)

    def note(self, text: str) -> None:
        self.notes.append(text)


class Home:
    """A working folder of its own, with its database."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        self.database = Database(parse_url(f"sqlite:///{folder / 'losscout.db'}"))
        self.settings = Settings(
            database=self.database,
            checkpoints=folder / "checkpoints",
            place=Place(device="cpu"),
            workers=workers,
        )
        self.watcher = Recorder()

    @contextmanager
    def watching(self, plan: dict[str, int]) -> Iterator[Recorder]:
        yield self.watcher

    def run(self, definition: StudyDefinition, text: str = TINY, total: int | None = None) -> None:
        run_study(
            self.settings,
            definition,
            text,
            total=total or definition.search.trials,
            amend=False,
            watching=self.watching,
        )

    def promote(self, definition: StudyDefinition, wanted: Promotion) -> None:
        promote_study(self.settings, definition, wanted, self.watching)


@pytest.fixture(scope="session")
def controls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that holds the controls at the tiny study's fidelity: they are trained once."""
    torch.set_num_threads(1)
    made = Home(tmp_path_factory.mktemp("controls"))
    text = TINY.replace('"tiny"', '"warm"')
    made.run(parse(text, source="warm.toml"), text, total=1)
    made.database.close()
    return made.database.path


@pytest.fixture
def stocked(tmp_path: Path, controls: Path) -> str:
    """The URL of a copy of that database."""
    return f"sqlite:///{_copied(controls, tmp_path / 'stocked') / controls.name}"


@pytest.fixture
def home(tmp_path: Path, controls: Path) -> Iterator[Home]:
    made = Home(_copied(controls, tmp_path))
    yield made
    made.database.close()


@pytest.fixture
def another_home(tmp_path: Path, controls: Path) -> Iterator[Home]:
    made = Home(_copied(controls, tmp_path / "another"))
    yield made
    made.database.close()


def _copied(database: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    shutil.copy(database, folder / database.name)
    return folder
