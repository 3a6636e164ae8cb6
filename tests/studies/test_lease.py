"""Who works on a study: a second coordinator, and one that was killed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread

import pytest
from sqlalchemy.engine import URL

from studies import records
from studies.database import Database
from studies.errors import StudyError
from studies.lease import Leases, alone, lease
from studies.tables import Lease, Study

HOLD = """
import sys, time
from studies.database import Database, parse_url
from studies.lease import alone, lease
database = Database(parse_url(sys.argv[1]))
with alone(database, "a"), lease(database, int(sys.argv[2])) as leases:
    print(leases.mine, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def study(database: Database) -> int:
    return a_study(database)


def a_study(database: Database) -> int:
    with database.transaction() as session:
        row = Study(name="a", definition="", total=1)
        session.add(row)
    return row.id


@contextmanager
def holder(database: Database, study: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that works on the study, and the id of its lease."""
    url = database.url.render_as_string(hide_password=False)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, url, str(study)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds within ten seconds."""
    end = time.monotonic() + 10
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return held


def stored(database: Database, lease_id: int) -> Lease:
    with database.transaction() as session:
        row = session.get(Lease, lease_id)
        assert row is not None
        return row


def test_a_second_coordinator_is_told_who_works_here(database: Database, study: int) -> None:
    with alone(database, "a"), lease(database, study):
        with pytest.raises(StudyError) as caught, alone(database, "a"):
            pass
        with alone(database, "another"):  # another study's coordinator is welcome
            pass
    assert str(caught.value) == (
        f"study 'a' is already being run (process {os.getpid()} on {platform.node()}): "
        "on SQLite one coordinator at a time works on a study"
    )


def test_a_coordinator_that_has_not_said_who_it_is_is_respected(database: Database) -> None:
    with (
        alone(database, "a"),
        pytest.raises(StudyError, match="study 'a' is already being run: on SQLite"),
        alone(database, "a"),
    ):
        pass


def test_the_next_coordinator_may_come_after_the_first(database: Database) -> None:
    for _ in range(2):
        with alone(database, "a"):
            pass
    with pytest.raises(ZeroDivisionError), alone(database, "a"):
        raise ZeroDivisionError
    with alone(database, "a"):
        pass


def test_a_killed_coordinator_is_gone_at_once(database: Database, study: int) -> None:
    with holder(database, study) as (process, held):
        with (
            pytest.raises(StudyError, match=rf"\(process {process.pid} on "),
            alone(database, "a"),
        ):
            pass
        process.kill()
        process.wait()
        with alone(database, "a"), lease(database, study) as leases:
            assert not leases.alive(held)
            assert leases.alive(leases.mine)
            assert leases.mine != held
    assert stored(database, held).ended is None  # it had no time to say so


@pytest.mark.parametrize("fails", [False, True])
def test_the_end_is_written_down(database: Database, study: int, fails: bool) -> None:
    with ExitStack() as stack:
        if fails:
            stack.enter_context(pytest.raises(ZeroDivisionError))
        with lease(database, study) as leases:
            assert stored(database, leases.mine).ended is None
            assert not leases.shared
            if fails:
                raise ZeroDivisionError
    row = stored(database, leases.mine)
    assert row.ended is not None
    assert row.ended >= row.started


@pytest.mark.postgres
def test_coordinators_share_a_study_on_postgresql(postgres: URL) -> None:
    database = Database(postgres)
    study = a_study(database)
    with alone(database, "a"), lease(database, study) as mine, ExitStack() as stack:
        stack.enter_context(alone(database, "a"))
        other = stack.enter_context(lease(database, study))
        assert mine.shared
        assert alive(mine, mine, other) == alive(other, mine, other) == [True, True]
        stack.close()
        assert alive(mine, mine, other) == [True, False]
        assert not mine.alive(999)
    with database.transaction() as session:
        last = records.last_lease(session, study)
        assert last is not None
        assert last.ended is not None
    database.close()


def alive(asked: Leases, *others: Leases) -> list[bool]:
    return [asked.alive(other.mine) for other in others]


@pytest.mark.postgres
def test_coordinators_take_turns_on_postgresql(postgres: URL) -> None:
    database = Database(postgres)
    study = a_study(database)
    came: list[str] = []

    def second() -> None:
        with theirs.in_turn():
            came.append("second")

    with lease(database, study) as mine, lease(database, study) as theirs:
        with mine.in_turn():
            waiting = Thread(target=second)
            waiting.start()
            waiting.join(timeout=0.5)
            came.append("first")
        waiting.join(timeout=10)
    assert came == ["first", "second"]
    database.close()


@pytest.mark.postgres
def test_a_killed_coordinator_is_gone_on_postgresql_too(postgres: URL) -> None:
    database = Database(postgres)
    study = a_study(database)
    with lease(database, study) as mine, holder(database, study) as (process, held):
        assert mine.alive(held)
        process.kill()
        process.wait()
        assert eventually(lambda: not mine.alive(held))
    assert stored(database, held).ended is None
    database.close()
