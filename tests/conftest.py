"""What tests of several packages share."""

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import URL, create_engine, text

from studies.database import parse_url


@pytest.fixture
def postgres() -> Iterator[URL]:
    """A fresh PostgreSQL database, dropped afterwards."""
    given = os.environ.get("LOSSCOUT_TEST_POSTGRES")
    if not given:
        pytest.skip("LOSSCOUT_TEST_POSTGRES names no server")
    server = parse_url(given)
    name = f"losscout_test_{os.getpid()}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()
