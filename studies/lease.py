"""Who works on a study: one coordinator on SQLite, several on PostgreSQL.

A lease is held by something that the operating system or the server frees when its holder dies,
however that happens: a file lock, or an advisory lock of an open connection. So there is nothing
to time out, and a dead coordinator's trials can be given out again at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout
from sqlalchemy import Connection, text

from studies import records
from studies.database import Database
from studies.errors import StudyError

LEASE_CLASS = 0x105C1
"""First half of the PostgreSQL advisory lock that a lease holds; its id is the second."""

TURN_CLASS = 0x105C2
"""First half of the advisory lock of the coordinator whose turn it is; the study is the second."""


class Leases:
    """The lease of this coordinator, and the question whether another one is alive.

    Attributes:
        mine: the id of this coordinator's lease.
    """

    def __init__(self, mine: int, study_id: int, connection: Connection | None) -> None:
        self.mine = mine
        self._study_id = study_id
        self._connection = connection

    @property
    def shared(self) -> bool:
        """Whether other coordinators may work on the study at the same time."""
        return self._connection is not None

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let one coordinator at a time into the block: what it trains, the next one finds."""
        if self._connection is None:
            yield
            return
        lock = {"class": TURN_CLASS, "id": self._study_id}
        self._connection.execute(text("SELECT pg_advisory_lock(:class, :id)"), lock)
        self._connection.commit()
        try:
            yield
        finally:
            self._connection.rollback()
            self._connection.execute(text("SELECT pg_advisory_unlock(:class, :id)"), lock)
            self._connection.commit()

    def alive(self, lease_id: int) -> bool:
        """Whether the coordinator with that lease is still at work."""
        if lease_id == self.mine:
            return True
        if self._connection is None:
            return False  # on SQLite we are alone: nobody else could hold the lock
        lock = {"class": LEASE_CLASS, "id": lease_id}
        free = self._connection.scalar(text("SELECT pg_try_advisory_lock(:class, :id)"), lock)
        if free:
            self._connection.execute(text("SELECT pg_advisory_unlock(:class, :id)"), lock)
        self._connection.commit()
        return not free


@contextmanager
def alone(database: Database, name: str) -> Iterator[None]:
    """On SQLite, keep other coordinators off a study for the length of the block.

    Raises:
        StudyError: another coordinator is at work on it.
    """
    if not database.is_sqlite:
        yield
        return
    lock = FileLock(f"{database.path}.{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(
            f"study {name!r} is already being run{_holder(database, name)}: "
            "on SQLite one coordinator at a time works on a study"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def lease(database: Database, study_id: int) -> Iterator[Leases]:
    """Note who works on a study for the length of the block."""
    with database.transaction() as session:
        mine = records.start_lease(session, study_id).id
    with ExitStack() as stack:
        connection = None
        if not database.is_sqlite:
            connection = stack.enter_context(database.engine.connect())
            connection.execute(
                text("SELECT pg_advisory_lock(:class, :id)"), {"class": LEASE_CLASS, "id": mine}
            )
            connection.commit()
            stack.callback(_unlock, connection)
        try:
            yield Leases(mine, study_id, connection)
        finally:
            with database.transaction() as session:
                records.end_lease(session, mine)


def _unlock(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_unlock_all()"))
    connection.commit()


def _holder(database: Database, name: str) -> str:
    with database.transaction() as session:
        study = records.find_study(session, name)
        last = study and records.last_lease(session, study.id)
        return f" (process {last.provenance.process} on {last.provenance.host})" if last else ""
