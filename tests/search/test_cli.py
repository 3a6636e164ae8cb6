"""The command as a user meets it: wrong input first."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from losses import families
from search.cli import main
from studies import records
from studies.database import Database, parse_url
from studies.leaderboard import leaderboard
from tests.search import conftest

BAD_TOML = {
    "broken.toml": "[search\n",
    "binary.toml": b"\x00\xff\xfe\x80",
    "unknown-key.toml": conftest.TINY + "\n[promotion]\nautomatik = true\n",
    "hidden.toml": conftest.TINY.replace("resnet8-digits", "mobilenetv2-fmnist"),
    "zero.toml": conftest.TINY.replace("trials = 6", "trials = 0"),
}

WRONG = {
    "search nosuch": "unknown study 'nosuch'",
    "search missing.toml": "missing.toml cannot be read",
    "search broken.toml": "broken.toml is not valid TOML",
    "search binary.toml": "binary.toml must be TOML text",
    "search unknown-key.toml": "promotion.automatik",
    "search hidden.toml": "mobilenetv2-fmnist: it is hidden",
    "search zero.toml": "search.trials",
    "search tiny.toml --trials 0": "--trials",
    "search tiny.toml --workers 0": "--workers': must be auto or a number from 1 to 256 but",
    "evaluate focal --workers x": "must be auto or a number from 1 to 256 but got 'x'",
    "search tiny.toml --storage mysql://host/name": "sqlite or postgresql",
    "search tiny.toml --storage nonsense": "--storage must be a URL",
    "search tiny.toml --storage sqlite://": "must name a file",
    "search tiny.toml --storage sqlite:///tiny.toml": "no SQLite database",
    "search tiny.toml --storage sqlite:///tiny.toml/x.db": "cannot be used",
    "search tiny.toml --storage postgresql://me:secret@127.0.0.1:1/x": "me:***@",
    "search tiny.toml --device tpu": "--device",
    "search tiny.toml --precision fp8": "--precision",
    "search tiny.toml --precision tf32 --device cpu": "fp32 or bf16 on the CPU but got tf32",
    "bench --benchmark nosuch": "unknown benchmark 'nosuch'",
    "bench --rounds 0": "--rounds",
    "status tiny.toml": "no study has been started yet",
    "promote tiny.toml": "no study has been started yet",
    "export tiny.toml": "no study has been started yet",
    "report tiny.toml": "no study has been started yet",
    "dashboard tiny.toml": "no study has been started yet",
    "evaluate nosuch": "unknown loss 'nosuch'",
    "evaluate {": "must be JSON",
    "evaluate missing.json": "missing.json cannot be read",
    'evaluate {"family":"nosuch"}': "unknown family 'nosuch'",
    'evaluate {"family":"focal","parameters":{"delta":1}}': "unknown parameter 'delta'",
    "evaluate focal --benchmark nosuch": "unknown benchmark 'nosuch'",
    "evaluate focal --seeds 2001": "later ones belong to searches",
    "evaluate focal --seeds 1,x": "--seeds must be whole numbers",
    "evaluate focal --seeds 1,1": "must not name 1 twice",
    "evaluate focal --epochs 0": "--epochs",
    "data": "Missing command",
    "data pack": "Missing argument",
    "data pack nosuch": "choose one of cifar10, cifar100, fashion_mnist",
    "data pack ../x --from .": "NAME must be of letters, digits, - and _ but got '../x'",
    "data pack digits": "comes with scikit-learn",
    "data pack mine --from missing": "missing/train must be a folder",
    "families nosuch": "unknown family 'nosuch'",
    "families focal --check focal": "--check takes the place of a family but got 'focal'",
    "families --check nosuch": "unknown loss 'nosuch'",
    "families --check mine.py": "--check must name a published loss or a spec as JSON but got",
    "nosuch": "No such command",
    "search": "Missing argument",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("LOSSCOUT_HOME", "LOSSCOUT_STORAGE", "LOSSCOUT_DATA"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tiny.toml").write_text(conftest.TINY)
    (tmp_path / "mine.py").write_text("def compute_loss(logits, targets, config): ...")
    for name, text in BAD_TOML.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path


def losscout(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["losscout", *command.split(" ")])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.parametrize("command", WRONG)
def test_wrong_input_is_told_in_one_line(command, folder, monkeypatch, capsys):
    before = sorted(folder.rglob("*"))
    assert losscout(command, monkeypatch) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert WRONG[command] in err
    assert "secret" not in err
    assert sorted(folder.rglob("*")) == before


def test_a_study_from_search_to_export(folder, monkeypatch, capsys, stocked):
    storage = f"--storage {stocked}"
    assert losscout(f"search tiny.toml {storage}", monkeypatch) == 0
    out, err = capsys.readouterr()
    assert "losscout promote tiny.toml" in out
    assert "trial 0" in err

    assert losscout(f"status tiny.toml --json {storage}", monkeypatch) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["study"], status["total"], status["promoted"]) == ("tiny", 6, [])
    assert sum(status["trials"].values()) == 6
    assert set(status["best"]) >= {"trial", "gain", "spec", "formula"}

    assert losscout(f"export tiny.toml -o found/loss.py {storage}", monkeypatch) == 0
    compile((folder / "found" / "loss.py").read_text(), "loss.py", "exec")
    assert losscout(f"report tiny.toml -o page.html {storage}", monkeypatch) == 0
    assert "<html" in (folder / "page.html").read_text()
    capsys.readouterr()
    assert losscout(f"report tiny.toml --json {storage}", monkeypatch) == 0
    board = json.loads(capsys.readouterr().out)
    assert (board["study"], board["claim"], board["rows"]) == ("tiny", None, [])

    for command, message in {
        "export tiny.toml --trial 99": "--trial must be one of the study's (0 to 5) but got 99",
        "promote tiny.toml --trial 99": "--trial must have a result",
    }.items():
        assert losscout(f"{command} {storage}", monkeypatch) == 2
        assert message in capsys.readouterr().err


def test_another_definition_is_refused_unless_amended(folder, monkeypatch, capsys, stocked):
    storage = f"--storage {stocked}"
    warm = conftest.TINY.replace('"tiny"', '"warm"')
    (folder / "warm.toml").write_text(warm.replace("confidence = 0.6", "confidence = 0.7"))
    command = f"search warm.toml --trials 1 {storage}"
    assert losscout(command, monkeypatch) == 2
    err = capsys.readouterr().err
    assert "pruner.confidence: 0.6 -> 0.7" in err
    assert err.count("\n") == 1
    assert losscout(f"{command} --amend", monkeypatch) == 0


def test_evaluate_prints_json_and_evaluates_once(folder, monkeypatch, capsys):
    command = 'evaluate {"family":"focal","parameters":{"gamma":1}} --epochs 1 --seeds 42,7 --json'
    assert losscout(command, monkeypatch) == 0
    first = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["seed"] for each in first] == [42, 7]
    assert first[0]["gain"] is None
    assert set(first[0]) == {
        "loss", "benchmark", "seed", "epochs", "subset", "best_accuracy", "final_accuracy",
        "cross_entropy", "calibration_error", "gain", "seconds", "device",
    }  # fmt: skip
    assert losscout(command, monkeypatch) == 0
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert again == first  # to the seconds: it was not trained again


@pytest.mark.parametrize("command", ["search tiny.toml", "evaluate focal"])
def test_an_unusable_home_is_told_before_anything_is_written(command, folder, monkeypatch, capsys):
    monkeypatch.setenv("LOSSCOUT_HOME", str(folder / "tiny.toml"))
    before = sorted(folder.rglob("*"))
    assert losscout(f"{command} --storage sqlite:///new.db", monkeypatch) == 2
    err = capsys.readouterr().err
    assert "must be a folder that can be written to" in err
    assert err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_a_dry_run_is_marked_and_stays_out_of_leaderboards(folder, monkeypatch, capsys):
    command = "evaluate focal --epochs 1 --subset 100"
    assert losscout(command, monkeypatch) == 0
    assert "dry run: 100 images" in capsys.readouterr().out
    database = Database(parse_url("sqlite:///runs/losscout.db"))
    with database.transaction() as session:
        stored = records.evaluations(session)
        assert [each.run.subset for each in stored] == [100]
        assert leaderboard(stored) == []
    database.close()
    assert losscout("evaluate focal --epochs 1 --subset 1201", monkeypatch) == 2
    assert "subset must be at least 1 and at most 1200 but got 1201" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["families", "families curriculum", "benchmarks"])
def test_listings(command, folder, monkeypatch, capsys):
    assert losscout(command, monkeypatch) == 0
    out = capsys.readouterr().out
    assert {"families": "poly1", "benchmarks": "resnet8-digits"}.get(command, "kappa") in out


@pytest.mark.parametrize("family", families().values(), ids=families())
def test_a_family_is_listed_with_its_formula_parameters_and_source(
    family, folder, monkeypatch, capsys
):
    assert losscout(f"families {family.name}", monkeypatch) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert family.description in out
    assert family.source in out
    assert family.text({each.name: each.name for each in family.parameters}) in out
    assert all(f" {each.name} {each.low:g} to {each.high:g}" in out for each in family.parameters)
    assert all(each.meaning in out for each in family.parameters)


CHECKED = {
    "focal": (0, "focal: fit to be searched", "1 - cosine 0.0"),
    '{"family":"composite","parameters":{"gamma":2,"scale":3}}': (
        1,
        "gamma 2, scale 3: would be refused",
        "no      the same gradients as focal but for a factor 3",
    ),
    '{"family":"composite","parameters":{"kappa":0.7,"m":3,"mu":0.3}}': (
        1,
        "would be refused",
        "no      100 steps of gradient descent take the error from 90 % to",
    ),
    "moving.json": (0, "moving: fit to be searched", "at progress"),
}


@pytest.mark.parametrize("given", CHECKED)
def test_a_loss_is_checked_without_training(given, folder, monkeypatch, capsys):
    form = {"shape": "linear", "start": 0.1, "end": 1.5}
    (folder / "moving.json").write_text(
        json.dumps({"family": "focal", "parameters": {"gamma": form}})
    )
    before = sorted(folder.rglob("*"))
    status, verdict, figures = CHECKED[given]
    assert losscout(f"families --check {given}", monkeypatch) == status
    out, err = capsys.readouterr()
    assert err == ""
    assert verdict in out.splitlines()[-1]
    assert figures in out
    assert sum("yes" in line or "no " in line for line in out.splitlines()) >= 4
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["--help", "search --help", "families"])
def test_light_commands_load_no_torch_and_no_optuna(command):
    code = (
        "import sys, search.cli\n"
        f"sys.argv = ['losscout', *{command.split()!r}]\n"
        "try:\n    search.cli.main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'optuna', 'plotly', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_interrupt_ends_with_130_and_says_how_to_go_on(folder, tmp_path):
    command = [sys.executable, "-m", "search.cli", "search", "tiny.toml"]
    process = subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any(line.startswith("trial 0") for line in lines)
    time.sleep(0.2)
    interrupted = time.monotonic()
    process.send_signal(2)
    _, rest = process.communicate(timeout=30)
    assert time.monotonic() - interrupted < 10  # 1 s where nothing else keeps the cores busy
    assert process.returncode == 130
    assert "everything is kept, go on with: losscout search tiny.toml" in rest
