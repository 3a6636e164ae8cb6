"""Whole studies that replay recorded runs: real database, sampler, pruner and ladder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from search.executors import Executor, Place
from search.launch import Settings, run_study
from search.runs import TrialUpdate
from studies.database import Database, parse_url
from studies.definition import StudyDefinition
from studies.reading import parse


class Silent:
    """A watcher that shows nothing."""

    def phase(self, name: str, epochs: int) -> None:
        """See ``Watcher``."""

    def worked(self, epochs: int) -> None:
        """See ``Watcher``."""

    def trial(self, update: TrialUpdate) -> None:
        """See ``Watcher``."""

    def note(self, text: str) -> None:
        """See ``Watcher``."""


def open_database(file: Path) -> Database:
    """The SQLite database in a file."""
    return Database(parse_url(f"sqlite:///{file}"))


def replay_study(
    database: Database,
    text: str,
    executor: Callable[[], Executor],
    *,
    total: int | None = None,
    amend: bool = False,
    watcher: Silent | None = None,
) -> StudyDefinition:
    """Run a study as ``losscout search`` does, with recorded runs in the place of training."""
    definition = parse(text, source="replay.toml")
    settings = Settings(
        database=database,
        checkpoints=database.path.parent / "checkpoints",
        place=Place(device="cpu"),
        executor=executor,
    )

    @contextmanager
    def watching(plan: dict[str, int]) -> Iterator[Silent]:
        yield watcher or Silent()

    run_study(
        settings,
        definition,
        text,
        total=total or definition.search.trials,
        amend=amend,
        watching=watching,
    )
    return definition
