"""Several coordinators on one study."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from studies.database import Database, parse_url
from studies.view import trials_of
from tests.search import conftest

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def storage(postgres):
    """The URL of a database of its own."""
    return postgres.render_as_string(hide_password=False)


def coordinator(folder: Path, storage: str, trials: int = 6) -> subprocess.Popen:
    (folder / "tiny.toml").write_text(conftest.TINY.replace("trials = 6", f"trials = {trials}"))
    command = [sys.executable, "-m", "search.cli", "search", "tiny.toml", "--storage", storage]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(storage: str, total: int = 6) -> list[TrialState]:
    database = Database(parse_url(storage))
    trials = trials_of(database, "tiny")
    database.close()
    assert [trial.number for trial in trials] == list(range(total))
    return [trial.state for trial in trials]


def test_two_coordinators_share_a_study(tmp_path, storage):
    both = [coordinator(tmp_path, storage) for _ in range(2)]
    outputs = [each.communicate(timeout=240) for each in both]
    assert [each.returncode for each in both] == [0, 0], outputs
    assert all(state.is_finished() for state in finished(storage))
    told = [line for _, err in outputs for line in err.splitlines() if line.startswith("trial ")]
    assert len(told) == 6  # each trial by one of them


def test_the_survivor_takes_over_what_a_dead_coordinator_left(tmp_path, storage):
    doomed = coordinator(tmp_path, storage, trials=30)
    assert doomed.stderr is not None
    assert any(line.startswith("trial 0") for line in doomed.stderr)
    survivor = coordinator(tmp_path, storage, trials=30)
    assert survivor.stderr is not None
    assert any(line.startswith("search") for line in survivor.stderr)
    os.kill(doomed.pid, signal.SIGKILL)
    doomed.communicate()
    _, errors = survivor.communicate(timeout=240)
    assert survivor.returncode == 0, errors
    assert all(state.is_finished() for state in finished(storage, total=30))
