"""`losscout evaluate FILE.py`: a user's own loss from the command line to the leaderboard."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch

from losses import CustomLoss, load, published
from search.cli import main
from studies import records
from studies.database import Database, parse_url
from studies.leaderboard import leaderboard
from tests.losses.test_custom import COUNTING, LEARNED, STATELESS
from training import benchmark, train

CROSS_ENTROPY = """
def compute_loss(logits, targets, config):
    return F.cross_entropy(logits, targets, reduction="none").mean()
"""

DRAWING = """
offset = nn.Parameter(torch.randn(10))

def compute_loss(logits, targets, config):
    return F.cross_entropy(F.dropout(logits + offset, 0.2), targets)
"""

FILES = {
    "stateless.py": STATELESS,
    "counting.py": COUNTING,
    "learned.py": LEARNED,
    "drawing.py": DRAWING,
    "ce.py": CROSS_ENTROPY,
    "broken.py": "def compute_loss(logits, targets, config) return 1",
    "other.py": "x = 1",
    "vector.py": "def compute_loss(logits, targets, config):\n    return logits.sum(1)",
    "ten.py": "def compute_loss(z, y, config):\n    return z[:, 10].sum()",
    "late.py": """
def compute_loss(logits, targets, config):
    if config["epoch"] == 1:
        raise RuntimeError("enough")
    return F.cross_entropy(logits, targets)
""",
}

WRONG = {
    "evaluate broken.py": "broken.py, line 1: syntax error",
    "evaluate missing.py": "missing.py cannot be read: No such file or directory",
    "evaluate other.py": "other.py must define compute_loss(logits, targets, config)",
    "evaluate vector.py": "vector.py: compute_loss must return a scalar but got shape [8]",
    "evaluate ten.py": "IndexError",
    "evaluate late.py --epochs 2": "late.py, line 4: compute_loss raised in epoch 1 of 2",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("LOSSCOUT_HOME", "LOSSCOUT_STORAGE", "LOSSCOUT_DATA"):
        monkeypatch.delenv(name, raising=False)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def losscout(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def run(command: str) -> int:
        monkeypatch.setattr(sys, "argv", ["losscout", *command.split()])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0)

    return run


def results(text: str) -> list[dict]:
    """The runs as JSON, without what depends on the machine's mood."""
    runs = [json.loads(line) for line in text.splitlines()]
    return [{key: run[key] for key in run if key != "seconds"} for run in runs]


@pytest.mark.parametrize("command", WRONG)
def test_a_file_that_cannot_train_is_told_before_anything_is_written(
    command, folder, losscout, capsys
):
    before = sorted(folder.rglob("*"))
    assert losscout(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert WRONG[command] in err
    assert sorted(folder.rglob("*")) == before


def stored(folder: Path) -> Database:
    return Database(parse_url(f"sqlite:///{folder / 'runs' / 'losscout.db'}"), create=False)


def test_a_file_that_raises_in_the_middle_fails_in_one_line(folder, losscout, capsys):
    assert losscout("evaluate late.py --epochs 3") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == (
        "losscout: late.py, line 4: compute_loss raised in epoch 1 of 3: RuntimeError: enough"
    )
    database = stored(folder)
    with database.transaction() as session:
        assert records.evaluations(session) == []
    database.close()


@pytest.mark.slow
def test_results_are_the_same_here_and_in_workers(folder, losscout, capsys):
    runs = []
    for place in ("--seeds 7,42", "--seeds 42,7 --workers 2"):
        home = f"--storage sqlite:///{len(runs)}.db"
        assert losscout(f"evaluate drawing.py --epochs 2 --json {place} {home}") == 0
        runs.append({run["seed"]: run for run in results(capsys.readouterr().out)})
    assert runs[0] == runs[1]
    assert runs[0][42]["loss"] == "drawing.py"


def test_a_stored_file_is_found_again_by_what_stands_in_it(folder, losscout, capsys):
    assert losscout("evaluate stateless.py --epochs 1 --json") == 0
    first = json.loads(capsys.readouterr().out)
    (folder / "stateless.py").rename(folder / "renamed.py")
    assert losscout("evaluate renamed.py --epochs 1 --json") == 0
    assert json.loads(capsys.readouterr().out) == first | {"loss": "renamed.py"}
    assert losscout("evaluate focal --epochs 1") == 0
    database = stored(folder)
    with database.transaction() as session:
        evaluations = records.evaluations(session)
        rows = {row.label: row for row in leaderboard(evaluations)}
        run = evaluations[0].run
    database.close()
    assert set(rows) == {"stateless.py, renamed.py", "focal"}
    row = rows["stateless.py, renamed.py"]
    assert row.spec.formula == "compute_loss of stateless.py"
    assert json.loads(json.dumps(row.to_dict()))["spec"]["custom"]["text"] == STATELESS
    assert load(run.spec) == CustomLoss("stateless.py", STATELESS)
    assert run.loss_id == hashlib.sha256(STATELESS.encode()).hexdigest()[:12]


def test_cross_entropy_as_a_file_is_cross_entropy_to_the_last_bit():
    curves = [
        [
            (report.train_loss, report.accuracy, report.cross_entropy)
            for report in train(benchmark("resnet8-digits"), loss, seed=42, epochs=2)
        ]
        for loss in (CustomLoss("ce.py", CROSS_ENTROPY), published()["cross_entropy"])
    ]
    assert curves[0] == curves[1]


@pytest.mark.parametrize("name", ["counting.py", "learned.py", "drawing.py"])
def test_what_ran_before_or_runs_beside_it_leaves_no_trace_in_a_run(name):
    loss = CustomLoss(name, FILES[name])
    torch.manual_seed(1)
    before = torch.get_rng_state()
    alone = list(train(benchmark("resnet8-digits"), loss, seed=1, epochs=2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    pair = [train(benchmark("resnet8-digits"), loss, seed=1, epochs=2) for _ in range(2)]
    for expected in alone:
        assert {next(run).train_loss for run in pair} == {expected.train_loss}


def test_a_run_goes_on_from_its_checkpoint_with_the_file_started_anew(tmp_path, capsys):
    arguments = {"seed": 1, "epochs": 3, "checkpoint": tmp_path / "run"}
    told = "    print(seen['epochs'])\n    return"
    loss = CustomLoss("counting.py", COUNTING.replace("    return", told))
    run = train(benchmark("resnet8-digits"), loss, **arguments)
    first = [next(run), next(run)]
    run.close()
    assert capsys.readouterr().err.splitlines()[-1] == "[0, 1]"
    assert list(train(benchmark("resnet8-digits"), loss, **arguments))[:2] == first
    assert capsys.readouterr().err.splitlines()[-1] == "[2]"


def test_what_is_evaluated_again_is_kept_beside_and_counts(folder, losscout, capsys):
    runs = []
    for option in ("", "", " --again"):
        assert losscout(f"evaluate poly1 --epochs 1 --json{option}") == 0
        runs.append(json.loads(capsys.readouterr().out))
    assert runs[0] == runs[1]
    assert results(json.dumps(runs[0])) == results(json.dumps(runs[2]))
    database = stored(folder)
    with database.transaction() as session:
        evaluations = records.evaluations(session)
        seconds = [round(each.run.seconds, 3) for each in evaluations]
        (row,) = leaderboard(evaluations)
    database.close()
    assert seconds == [runs[0]["seconds"], runs[2]["seconds"]]
    assert list(row.final) == [42]
