"""The command as a user drives it, in processes of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from click import Group

from search.cli import cli
from studies.database import Database, parse_url
from studies.view import trials_of
from tests.search import conftest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "search.cli"]


def losscout(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [*COMMAND, *words], cwd=folder, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_and_option_stands_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    groups = {name: each for name, each in cli.commands.items() if isinstance(each, Group)}
    inner = {
        f"{name} {child}": command
        for name, group in groups.items()
        for child, command in group.commands.items()
    }
    everywhere = ("storage", "data", "device", "workers", "precision", "study", "loss")
    for name, command in (cli.commands | inner).items():
        row = re.search(rf"^\| `losscout {name}\b.*$", readme, re.MULTILINE)
        assert row, name
        for option in command.params:
            if option.name not in everywhere:
                shown = option.opts[-1] if option.opts[-1].startswith("-") else option.name.upper()
                assert any(opt in row[0] for opt in (shown, *option.opts)), (name, option.opts)
    for option in ("--storage", "--data", "--workers", "--precision"):
        assert option in readme


def test_the_two_commands_of_the_readme_are_those_that_ci_runs():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    for command in (
        "python3 -m venv .venv && .venv/bin/pip install -e . "
        "&& .venv/bin/losscout search quickstart",
        ".venv/bin/pip install -e '.[test]' && .venv/bin/pytest",
    ):
        assert command in readme
        assert command in ci.replace("pip install -q", "pip install")


@pytest.mark.slow
def test_the_quick_start_does_the_whole_path(tmp_path):
    summary = losscout(tmp_path, "search", "quickstart")
    assert "95 % interval" in summary
    assert re.search(r"is (better than|not shown to differ from) cross-entropy", summary)

    status = json.loads(losscout(tmp_path, "status", "quickstart", "--json"))
    assert sum(status["trials"].values()) == status["total"] == 16
    assert status["trials"]["pruned"] > 0
    assert len({each["trial"] for each in status["promoted"]}) == 2
    assert {each["seed"] for each in status["promoted"]} == {42, 123, 456}
    assert "<html" in (tmp_path / "runs" / "quickstart.html").read_text()

    exported = tmp_path / "alone" / "loss.py"
    losscout(tmp_path, "export", "quickstart", "-o", str(exported))
    script = (
        "import torch, loss\n"
        "z = torch.randn(8, 10, requires_grad=True)\n"
        "config = {'num_classes': 10, 'epoch': 3, 'total_epochs': 200}\n"
        "loss.compute_loss(z, torch.arange(8), config).backward()\n"
        "print(bool(z.grad.isfinite().all()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=exported.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"
    again = time.monotonic()
    losscout(tmp_path, "search", "quickstart")
    assert time.monotonic() - again < 60  # nothing was trained again


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_9_and_the_same_command_again(tmp_path, workers):
    (tmp_path / "tiny.toml").write_text(conftest.TINY)
    command = ["search", "tiny.toml", "--workers", workers]
    for seen in ("trial 1", "trial 3"):
        process = subprocess.Popen(
            [*COMMAND, *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        with process.stderr:
            assert any(line.startswith(seen) for line in process.stderr)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    losscout(tmp_path, *command)
    database = Database(parse_url(f"sqlite:///{tmp_path / 'runs' / 'losscout.db'}"))
    trials = trials_of(database, "tiny")
    database.close()
    assert [trial.number for trial in trials] == list(range(6))
    assert all(trial.state.is_finished() for trial in trials)
    assert not list((tmp_path / "runs" / "checkpoints").glob("*.safetensors"))


@pytest.mark.slow
def test_the_dashboard_serves_the_study_on_loopback(tmp_path):
    (tmp_path / "tiny.toml").write_text(conftest.TINY)
    losscout(tmp_path, "search", "tiny.toml", "--trials", "2")
    process = subprocess.Popen(
        [*COMMAND, "dashboard", "tiny.toml", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        with process.stdout:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            api = url.replace("/dashboard/studies/", "/api/studies/")
            with urllib.request.urlopen(api, timeout=60) as answer:
                study = json.load(answer)
        assert {each["id"] for each in study["plotly_graph_objects"]} >= {
            "learning-curves",
            "loss-shapes",
        }
        assert "loss = " in study["trials"][1]["note"]["body"]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
