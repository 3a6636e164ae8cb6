"""`losscout data` as a user meets it."""

import errno
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search import packing
from search.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with images/ in it; data sets lie in data/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOSSCOUT_HOME", raising=False)
    monkeypatch.setenv("LOSSCOUT_DATA", "data")
    for split in ("train", "test"):
        for shade, name in enumerate(("ant", "bee")):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            Image.new("L", (4, 4), shade).save(tmp_path / "images" / split / name / "0.png")
    return tmp_path


def losscout(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["losscout", "data", *command.split()])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_own_images_are_packed_and_found_whole(folder, monkeypatch, capsys):
    assert losscout("verify", monkeypatch) == 0
    assert "losscout data pack cifar100" in capsys.readouterr().out
    assert losscout("pack mine --from images", monkeypatch) == 0
    verdict = "mine: 4 images, 2 classes, digest ok"
    assert capsys.readouterr() == (f"{verdict}: data/mine.safetensors\n", "")
    for command in ("verify", "verify mine", "verify mine mine", "verify --data data"):
        assert losscout(command, monkeypatch) == 0
        assert capsys.readouterr() == (f"{verdict}\n", "")


def test_a_bar_is_shown_on_a_terminal(folder, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert losscout("pack mine --from images", monkeypatch) == 0
    out, err = capsys.readouterr()
    assert "packing mine" in err
    assert out.count("\n") == 1


def test_verify_says_what_is_wrong_and_ends_with_2(folder, monkeypatch, capsys):
    for name in ("altered", "cut", "whole"):
        assert losscout(f"pack {name} --from images", monkeypatch) == 0
    capsys.readouterr()
    altered, cut = (folder / "data" / f"{name}.safetensors" for name in ("altered", "cut"))
    content = altered.read_bytes()
    altered.write_bytes(content.replace(np.ones(16, np.uint8).tobytes(), b"\2" * 16))
    cut.write_bytes(content[:-1])

    assert losscout("verify", monkeypatch) == 2
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert "another SHA-256 than when it was packed" in lines[0]
    assert "cut.safetensors is damaged" in lines[1]
    assert lines[2] == "whole: 4 images, 2 classes, digest ok"
    assert err == "losscout: 2 of 3 cannot be used: altered, cut\n"

    assert losscout("verify whole cifar100", monkeypatch) == 2
    out, err = capsys.readouterr()
    assert out.endswith("or get it with: losscout data pack cifar100\n")
    assert err == "losscout: 1 of 2 cannot be used: cifar100\n"


def test_a_download_is_made_once_and_again_when_the_file_is_damaged(folder, monkeypatch, capsys):
    fetched = []

    def fetch(name, data, *, source, progress):
        fetched.append(name)
        return pack(name, data, source=folder / "images", progress=progress)

    pack = packing.pack
    monkeypatch.setattr(packing, "pack", fetch)
    for command in ("pack cifar10", "pack cifar10"):
        assert losscout(command, monkeypatch) == 0
    assert fetched == ["cifar10"]
    assert "nothing to do: cifar10: 4 images" in capsys.readouterr().out
    (folder / "data" / "cifar10.safetensors").write_bytes(b"half")
    assert losscout("pack cifar10", monkeypatch) == 0
    assert fetched == ["cifar10"] * 2


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "not packed: No space left"),
        (OSError("the download failed twice: x"), 1, "not packed: the download failed twice: x"),
        (PermissionError(errno.EACCES, "Permission denied"), 2, "--data must be a folder"),
        (KeyboardInterrupt(), 130, "begin again with: losscout data pack cifar10"),
    ],
)
def test_a_failure_is_told_in_one_line(folder, monkeypatch, capsys, fault, status, message):
    def fail(*args, **kwargs):
        raise fault

    monkeypatch.setattr(packing, "pack", fail)
    assert losscout("pack cifar10", monkeypatch) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.strip().count("\n") == 0
    assert sorted(each.name for each in folder.iterdir()) == ["images"]
