from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.engine import URL

from studies.database import Database, display, parse_url
from studies.errors import StudyError
from studies.migrations import versions as versions_package
from studies.tables import PREFIX, Base

NEWEST = max(path.name[:4] for path in Path(versions_package.__file__).parent.glob("0*.py"))

OURS = {table.name for table in Base.metadata.sorted_tables} | {f"{PREFIX}schema"}

OPEN = """
import sys
from studies.database import Database, parse_url
Database(parse_url(sys.argv[1])).close()
"""


def differences(database: Database) -> list[object]:
    """What Alembic would have to change for our tables to be as the models say."""

    def ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "table" or str(name).startswith(PREFIX)

    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_name": ours,
                "compare_type": True,
                "version_table": f"{PREFIX}schema",
            },
        )
        return list(compare_metadata(context, Base.metadata))


def versions(database: Database, table: str) -> list[str]:
    with database.engine.connect() as connection:
        return list(connection.scalars(text(f"SELECT version_num FROM {table}")))


def assert_complete(database: Database) -> None:
    tables = set(inspect(database.engine).get_table_names())
    assert tables >= OURS | {"studies", "trials", "alembic_version"}
    assert differences(database) == []
    assert versions(database, f"{PREFIX}schema") == [NEWEST]
    assert versions(database, "alembic_version") == [
        database.storage.get_head_version()  # Optuna's own, as Optuna left it
    ]


def open_at_once(url: str, processes: int = 3) -> list[str]:
    """Open one database in several processes; returns what each said on stderr, if it failed."""
    opened = [
        subprocess.Popen([sys.executable, "-c", OPEN, url], stderr=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    said = [process.communicate()[1] for process in opened]
    return [text for process, text in zip(opened, said, strict=True) if process.returncode]


def test_a_fresh_database_has_optunas_tables_and_ours(database: Database) -> None:
    assert_complete(database)


def test_opening_again_changes_nothing(database: Database) -> None:
    Database(database.url).close()
    assert_complete(database)


def test_a_table_that_differs_from_its_model_is_seen(database: Database) -> None:
    with database.transaction() as session:
        session.execute(text(f"ALTER TABLE {PREFIX}openings ADD COLUMN more INTEGER"))
    assert differences(database) != []


def test_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "new.db"
    Database(parse_url(f"sqlite:///{path}")).close()
    assert path.is_file()


def test_both_engines_write_ahead_and_wait(database: Database) -> None:
    for engine in (database.engine, database.storage.engine):
        with engine.connect() as connection:
            pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            set_ = [connection.scalar(text(f"PRAGMA {pragma}")) for pragma in pragmas]
        assert set_ == ["wal", 1, 1, 60_000]


def test_processes_may_open_a_fresh_file_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    assert open_at_once(url) == []
    database = Database(parse_url(url))
    assert_complete(database)
    database.close()


def interrupted(_: object) -> None:
    raise ZeroDivisionError


def test_a_transaction_is_rolled_back_by_an_exception(database: Database) -> None:
    def count() -> int:
        with database.transaction() as session:
            return session.scalar(text(f"SELECT count(*) FROM {PREFIX}studies"))

    insert = (
        f"INSERT INTO {PREFIX}studies (name, definition, total, created) VALUES ('a', '', 1, '')"
    )
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        interrupted(session.execute(text(insert)))
    assert count() == 0
    with database.transaction() as session:
        session.execute(text(insert))
    assert count() == 1


NO_URL = "--storage must be a URL such as sqlite:///runs/losscout.db or postgresql://"
IN_MEMORY = "--storage must name a file for sqlite but got a database in memory"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", NO_URL),
        ("runs/losscout.db", NO_URL),
        ("postgresql://me:geheim@host:port/name", NO_URL),
        ("mysql://me:geheim@host/name", "--storage must name sqlite or postgresql but got mysql"),
        ("sqlite://", IN_MEMORY),
        ("sqlite:///", IN_MEMORY),
        ("sqlite:///:memory:", IN_MEMORY),
        (
            "sqlite:///file:x?mode=memory&uri=true",
            "--storage must name a plain path for sqlite but got file:x",
        ),
    ],
)
def test_a_wrong_url_is_said_in_one_line(url: str, expected: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_url(url)
    assert str(caught.value).startswith(expected)
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_postgresql_means_its_current_driver() -> None:
    assert parse_url("postgresql://host/name").drivername == "postgresql+psycopg"


def _text_file(folder: Path) -> Path:
    (folder / "notes.txt").write_text("no database, but longer than a header")
    return folder / "notes.txt"


def _damaged(folder: Path) -> Path:
    (folder / "damaged.db").write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)
    return folder / "damaged.db"


def _below_a_file(folder: Path) -> Path:
    return _text_file(folder) / "losscout.db"


def _folder(folder: Path) -> Path:
    (folder / "losscout.db").mkdir()
    return folder / "losscout.db"


def _not_writable(folder: Path) -> Path:
    (folder / "closed").mkdir(mode=0o500)
    if os.access(folder / "closed", os.W_OK):
        pytest.skip("this user may write everywhere")
    return folder / "closed" / "losscout.db"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (_text_file, "storage {path} is no SQLite database"),
        (_damaged, "storage sqlite:///{path} cannot be used: file is not a database"),
        (_below_a_file, "storage {path} cannot be used: "),
        (_folder, "storage {path} cannot be used: Is a directory"),
        (_not_writable, "storage sqlite:///{path} cannot be used: "),
    ],
)
def test_a_file_that_cannot_be_a_database_is_named(place, expected: str, tmp_path: Path) -> None:
    path = place(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(StudyError) as caught:
        Database(parse_url(f"sqlite:///{path}"))
    assert str(caught.value).startswith(expected.format(path=path))
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every file with its bytes; lock files, which are empty, left out."""
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.suffix != ".lock"
    }


def test_what_is_missing_is_not_made_for_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "losscout.db"
    with pytest.raises(StudyError, match=r"no study has been started yet: .* does not exist"):
        Database(parse_url(f"sqlite:///{path}"), create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("table", [f"{PREFIX}schema", "alembic_version"])
def test_a_database_of_a_newer_version_is_refused(database: Database, table: str) -> None:
    database.close()
    with sqlite3.connect(database.path) as connection:
        connection.execute(f"UPDATE {table} SET version_num = 'v9999'")
    with pytest.raises(StudyError) as caught:
        Database(database.url)
    assert str(caught.value).startswith(f"storage sqlite:///{database.path} cannot be used: ")
    assert "\n" not in str(caught.value)


UNREACHABLE = "postgresql://me:geheim@127.0.0.1:1/name"


@pytest.mark.parametrize(
    "url",
    [
        UNREACHABLE,
        f"{UNREACHABLE}?password=geheim",
        f"{UNREACHABLE}?sslpassword=geheim&sslmode=require",
        f"{UNREACHABLE}?passfile=geheim",
        f"{UNREACHABLE}?token=geheim",
        "postgresql+asyncpg://me:geheim@127.0.0.1:1/name?password=geheim",
        "postgresql+nosuchdriver://me:geheim@127.0.0.1:1/name?PASSWORD=geheim",
    ],
)
def test_secrets_are_never_shown(url: str) -> None:
    parsed = parse_url(url)
    assert "geheim" in str(parsed.render_as_string(hide_password=False))
    assert "geheim" not in display(parsed)
    assert "127.0.0.1:1/name" in display(parsed)
    with pytest.raises(StudyError) as caught:
        Database(parsed)
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("sqlite:///runs/losscout.db", "sqlite:///runs/losscout.db"),
        ("postgresql://me@host/name", "postgresql+psycopg://me@host/name"),
        ("postgresql://me:geheim@host/name", "postgresql+psycopg://me:***@host/name"),
        (
            "postgresql://host/name?sslmode=require",
            "postgresql+psycopg://host/name?sslmode=require",
        ),
    ],
)
def test_what_is_no_secret_is_shown(given: str, expected: str) -> None:
    assert display(parse_url(given)) == expected


@pytest.mark.postgres
def test_postgresql_has_optunas_tables_and_ours(postgres: URL) -> None:
    for _ in range(2):  # made, then opened
        database = Database(postgres)
        assert_complete(database)
        database.close()


@pytest.mark.postgres
def test_processes_may_open_a_fresh_postgresql_database_at_once(postgres: URL) -> None:
    assert open_at_once(postgres.render_as_string(hide_password=False)) == []
    database = Database(postgres)
    assert_complete(database)
    database.close()


@pytest.mark.postgres
def test_a_wrong_password_is_not_shown(postgres: URL) -> None:
    with pytest.raises(StudyError, match="cannot be used") as caught:
        Database(postgres.set(password="falsch", database="no-such-database"))
    assert "falsch" not in str(caught.value)
    assert "\n" not in str(caught.value)
