"""The database of a study: opened, created and migrated under one lock, beside Optuna's tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from filelock import FileLock
from optuna.exceptions import OptunaError
from optuna.storages import RDBStorage
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from studies.errors import StudyError

MIGRATION_KEY = 0x105C0
"""PostgreSQL advisory lock under which the schema is created and migrated."""

FAULTS = (SQLAlchemyError, OptunaError, CommandError, RuntimeError, ImportError, OSError)
"""What opening a database raises; RuntimeError and CommandError say that its schema is newer
than the software."""

SECRETS = ("password", "passwd", "pwd", "passfile", "sslpassword", "token", "secret")


def parse_url(text_: str) -> URL:
    """Read a storage URL.

    Raises:
        StudyError: not a URL, not SQLite or PostgreSQL, or a SQLite database without a file.
    """
    try:
        url = make_url(text_)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError):
        raise StudyError(
            "--storage must be a URL such as sqlite:///runs/losscout.db or "
            "postgresql://user@host/name but what was given is none"
        ) from None
    if backend not in ("sqlite", "postgresql"):
        raise StudyError(f"--storage must name sqlite or postgresql but got {backend}")
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise StudyError("--storage must name a file for sqlite but got a database in memory")
    if backend == "sqlite" and str(url.database).startswith("file:"):
        # SQLite's own URIs can name a database in memory, and no path to lock or to look at.
        raise StudyError(f"--storage must name a plain path for sqlite but got {url.database}")
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")  # older SQLAlchemy defaults to psycopg2
    return url


def display(url: URL) -> str:
    """The URL for people to see, its secrets masked wherever they stand."""
    masked = {key: "***" for key in url.query if key.lower() in SECRETS}
    return url.update_query_dict(masked).render_as_string(hide_password=True)


def _durable_and_fast(connection: Any, _record: object) -> None:
    # Write-ahead log: readers (status, dashboard) never block the coordinator. With it,
    # synchronous=NORMAL loses nothing when a process dies.
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


class Database:
    """One database with Optuna's tables and ours.

    Args:
        url: from ``parse_url``.
        create: make the SQLite file where it is missing; otherwise that is an error.

    Raises:
        StudyError: the database cannot be reached, made or migrated.
    """

    def __init__(self, url: URL, *, create: bool = True) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._check_file(create)
        try:
            self.engine = self._connect()
            with self._migration_lock() as connection:
                migrate(connection)
                self.storage = self._optuna_storage()
        except FAULTS as error:
            raise StudyError(f"storage {display(url)} cannot be used: {_reason(error)}") from None
        self.session = sessionmaker(self.engine, expire_on_commit=False)

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return Path(str(self.url.database))

    def close(self) -> None:
        """Give back every connection."""
        self.storage.engine.dispose()
        self.engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that is committed at the end of the block, or rolled back by an exception."""
        with self.session.begin() as session:
            yield session

    def _check_file(self, create: bool) -> None:
        if not create and not self.path.is_file():
            raise StudyError(f"no study has been started yet: {self.path} does not exist")
        try:
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                with self.path.open("r+b") as file:
                    head = file.read(16)
                if head and head != b"SQLite format 3\x00":
                    raise StudyError(f"storage {self.path} is no SQLite database")
        except OSError as error:
            raise StudyError(f"storage {self.path} cannot be used: {error.strerror}") from None

    @property
    def engine_options(self) -> dict[str, Any]:
        """How engines for this database are made: they wait for locks and survive restarts."""
        return {"connect_args": {"timeout": 60}} if self.is_sqlite else {"pool_pre_ping": True}

    def _connect(self) -> Engine:
        engine = create_engine(self.url, **self.engine_options)
        if self.is_sqlite:
            event.listen(engine, "connect", _durable_and_fast)
        return engine

    def _optuna_storage(self) -> RDBStorage:
        rendered = self.url.render_as_string(hide_password=False)
        storage = RDBStorage(rendered, engine_kwargs=self.engine_options)
        if self.is_sqlite:
            storage.engine.dispose()  # the connections that were made before the listener
            event.listen(storage.engine, "connect", _durable_and_fast)
        return storage

    @contextmanager
    def _migration_lock(self) -> Iterator[Connection]:
        # Optuna creates its tables without a lock of its own: two processes that start on a
        # fresh database at the same time would both try, and one would fail.
        if self.is_sqlite:
            with FileLock(f"{self.path}.lock"), self.engine.connect() as connection:
                yield connection
            return
        with self.engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_KEY})
            connection.commit()
            try:
                yield connection
            finally:
                connection.rollback()
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_KEY})
                connection.commit()


def migrate(connection: Connection) -> None:
    """Bring our tables to the newest schema."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.commit()


def _reason(error: Exception) -> str:
    if isinstance(error, NoSuchModuleError | ImportError):
        return "its driver is not installed (for PostgreSQL: pip install 'losscout[postgres]')"
    original = getattr(error, "orig", None) or error
    return " ".join(str(original).split())[:200]
