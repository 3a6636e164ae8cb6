"""Benchmarks of the user's own, from the command line to the database and back."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search import named
from search.cli import main
from studies.database import Database, parse_url
from studies.errors import StudyError
from studies.view import StudyView
from tests.search import conftest
from training import BenchmarkError

NETS = """
from torch import nn

def build(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )
"""

OWN = """
[[benchmarks]]
name = "tones"
architecture = "tone_nets:build"
data = "./images"
epochs = 2
batch_size = 16

[[benchmarks]]
name = "never-asked-for"
architecture = "absent:build"
data = "./absent"
"""

STUDY = conftest.TINY.replace("resnet8-digits", "tones").replace('"tiny"', '"own"') + OWN


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder beside which own.toml, its code and its images lie."""
    beside, working = tmp_path / "beside", tmp_path / "working"
    beside.mkdir()
    working.mkdir()
    random = np.random.Generator(np.random.PCG64(1))
    for split, count in (("train", 20), ("test", 4)):
        for label, level in (("dark", 90), ("light", 150)):
            (beside / "images" / split / label).mkdir(parents=True)
            for k in range(count):
                pixels = random.integers(level - 80, level + 80, size=(8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(beside / "images" / split / label / f"{k}.png")
    (beside / "tone_nets.py").write_text(NETS)
    (beside / "own.toml").write_text(STUDY)
    for name in ("LOSSCOUT_HOME", "LOSSCOUT_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOSSCOUT_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(working)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "tone_nets", raising=False)
    return beside


def losscout(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["losscout", *command.split(" ")])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def view() -> StudyView:
    definition = named.reading.read("../beside/own.toml")[0]
    database = Database(parse_url("sqlite:///runs/losscout.db"), create=False)
    return StudyView.load(database, definition)


@pytest.mark.parametrize("workers", ["1", "2", "auto"])
def test_a_study_of_own_images_and_code(folder, monkeypatch, capsys, workers) -> None:
    assert losscout(f"search ../beside/own.toml --workers {workers}", monkeypatch) == 0
    assert ("(speed with 1: 1.00" in capsys.readouterr().err) == (workers == "auto")
    assert losscout("promote ../beside/own.toml --seeds 42", monkeypatch) == 0
    found = view()
    assert found.num_classes == 2
    assert {row.benchmark for row in found.rows} == {"tones"}
    assert found.rungs
    capsys.readouterr()

    # Neither is needed to look at what was found.
    shutil.rmtree(folder / "images")
    (folder / "tone_nets.py").unlink()
    assert losscout("status ../beside/own.toml --json", monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["trials"]["running"] == 0
    assert losscout("report ../beside/own.toml", monkeypatch) == 0


def test_an_evaluation_of_own_images_and_code(folder, monkeypatch, capsys) -> None:
    command = "evaluate focal --benchmark ../beside/own.toml:tones --json"
    assert losscout(command, monkeypatch) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["benchmark"], result["epochs"]) == ("tones", 2)


def test_a_study_goes_on_with_other_code_only_when_told_to(folder, monkeypatch, capsys) -> None:
    assert losscout("search ../beside/own.toml --trials 1", monkeypatch) == 0
    (folder / "tone_nets.py").write_text(NETS.replace("nn.ReLU()", "nn.Tanh()"))
    monkeypatch.delitem(sys.modules, "tone_nets")
    capsys.readouterr()
    assert losscout("search ../beside/own.toml --trials 2", monkeypatch) == 2
    assert "tones.code_digest: " in capsys.readouterr().err
    assert losscout("search ../beside/own.toml --trials 2 --amend", monkeypatch) == 0
    # What is shown is measured against controls of the new code.
    assert len({run.protocol for run in view().ladder.controls}) == 1


@pytest.mark.parametrize(
    ("option", "fault"),
    [
        ("../beside/own.toml:nosuch", r"own.toml must hold a \[\[benchmarks\]\] table named 'no"),
        ("../beside/none.toml:tones", r"none.toml cannot be read"),
    ],
)
def test_a_name_that_leads_nowhere_is_told(folder, option, fault) -> None:
    with pytest.raises(StudyError, match=fault):
        named.of_options([option])


def test_a_benchmark_is_named_once(folder) -> None:
    assert named.of_options(["resnet8-digits"] * 2).names == ("resnet8-digits",)
    (folder / "other.toml").write_text(STUDY)
    with pytest.raises(StudyError, match="must name each benchmark once but got tones, tones"):
        named.of_options(["../beside/own.toml:tones", "../beside/other.toml:tones"])


def test_only_what_is_named_is_imported(folder) -> None:
    definition = named.reading.read("../beside/own.toml")[0]
    found = named.of_study(definition, "../beside/own.toml", ["tones", "tones"])
    assert [table.name for table, _ in found.own] == ["tones"]
    with pytest.raises(BenchmarkError, match="unknown benchmark 'nosuch'"):
        named.of_study(definition, "../beside/own.toml", ["nosuch"])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("tone_nets:build", "tone_nets:absent"), "has no attribute 'absent'"),
        (("./images", "./nowhere"), "nowhere/train must be a folder"),
        (("epochs = 2\nbatch", "resize = 4\nepochs = 2\nbatch"), ""),
        (('data = "./images"\nepochs', 'data = "cifar10"\nepochs'), "losscout data pack cifar10"),
    ],
)
def test_a_fault_is_told_before_anything_is_written(folder, monkeypatch, capsys, change, fault):
    (folder / "own.toml").write_text(STUDY.replace(*change))
    command = "evaluate focal --benchmark ../beside/own.toml:tones"
    assert losscout(command, monkeypatch) == (2 if fault else 0)
    out, err = capsys.readouterr()
    if fault:
        assert fault in err
        assert err.count("\n") == 1
        assert out == ""
        assert not Path("runs").exists()


def test_missing_data_are_told_before_anything_is_written(folder, monkeypatch, capsys) -> None:
    assert losscout("evaluate focal --benchmark resnet56-cifar100", monkeypatch) == 2
    assert "get it with: losscout data pack cifar100" in capsys.readouterr().err
    assert not Path("runs").exists()
