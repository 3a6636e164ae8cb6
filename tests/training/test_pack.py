"""Packing: whole or not at all, from a download or from a user's own images."""

import errno
import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from training import DataError
from training.pack import pack
from training.packed import KNOWN, content_digest, in_order, read_split, verify

RANDOM = np.random.Generator(np.random.PCG64(0))
PIXELS = RANDOM.integers(256, size=(20, 32, 32, 3), dtype=np.uint8)


class Download:
    """Stands in for torchvision's data sets: leaves a file behind, and fails when told to."""

    classes = tuple(f"class {k}" for k in range(10))
    faults: ClassVar[list[Exception]] = []
    started: ClassVar[list[bool]] = []

    def __init__(self, root: Path, *, train: bool, download: bool) -> None:
        assert download
        self.started.append(train)
        archive = Path(root) / "archive"
        assert not (train and archive.exists()), "begins with what a broken download left"
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(b"half")
        if self.faults:
            raise self.faults.pop(0)
        self.data = PIXELS if train else PIXELS[:10]
        self.targets = [k % 10 for k in range(len(self.data))]


@pytest.fixture(autouse=True)
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.CIFAR10", Download)
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", Download)
    monkeypatch.setattr(Download, "faults", [])
    monkeypatch.setattr(Download, "started", [])


def save_images(source: Path, mode: str = "RGB", side: int = 6) -> Path:
    """Two classes, three training images and one test image each."""
    for split, number in (("train", 3), ("test", 1)):
        for name in ("cat", "ant"):
            (source / split / name).mkdir(parents=True)
            for k in range(number):
                shade = 10 * k + (100 if name == "cat" else 0)
                image = Image.new("RGB", (side, 4), (shade, shade, shade)).convert(mode)
                image.save(source / split / name / f"{k}.png")
    return source


def left(folder: Path) -> list[str]:
    """What lies in the folder, but for hidden files."""
    return sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))


def test_a_download_is_packed_and_cleaned_up(tmp_path: Path) -> None:
    assert pack("cifar10", tmp_path / "new") == tmp_path / "new" / "cifar10.safetensors"
    assert left(tmp_path / "new") == ["cifar10.safetensors"]
    assert verify("cifar10", tmp_path / "new") == (30, 10, False, True)
    images, labels = read_split("cifar10", "train", tmp_path / "new", num_classes=10)
    expected = np.arange(20) % 10
    order, _ = in_order(PIXELS, expected)
    assert np.array_equal(images, PIXELS[order])
    assert np.array_equal(labels, expected[order])


def test_grey_tensors_get_a_channel(tmp_path: Path, monkeypatch) -> None:
    class Grey(Download):
        def __init__(self, root: Path, *, train: bool, download: bool) -> None:
            super().__init__(root, train=train, download=download)
            self.data = torch.from_numpy(self.data[..., 0])
            self.targets = torch.tensor(self.targets)

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", Grey)
    monkeypatch.delitem(KNOWN, "fashion_mnist")
    pack("fashion_mnist", tmp_path)
    images, _ = read_split("fashion_mnist", "train", tmp_path, num_classes=10)
    order, _ = in_order(PIXELS[..., :1], np.arange(20) % 10)
    assert np.array_equal(images, PIXELS[order, ..., :1])


@pytest.mark.parametrize(
    "fault", [RuntimeError("File not found or corrupted."), TimeoutError(), EOFError()]
)
def test_a_broken_download_is_fetched_again_from_nothing(tmp_path: Path, fault) -> None:
    Download.faults.append(fault)
    pack("cifar10", tmp_path)
    assert Download.started == [True, True, False]
    assert left(tmp_path) == ["cifar10.safetensors"]


def test_a_download_that_breaks_twice_leaves_nothing(tmp_path: Path) -> None:
    Download.faults += [RuntimeError("corrupted"), RuntimeError("corrupted")]
    with pytest.raises(OSError, match="the download failed twice: corrupted"):
        pack("cifar10", tmp_path)
    assert left(tmp_path) == []


def test_a_download_of_other_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="does not hold the published fashion_mnist"):
        pack("fashion_mnist", tmp_path)
    assert Download.started == [True, False] * 2
    assert left(tmp_path) == []


def test_a_disk_that_is_full_while_downloading_is_told_at_once(tmp_path: Path) -> None:
    Download.faults.append(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        pack("cifar10", tmp_path)
    assert Download.started == [True]
    assert left(tmp_path) == []


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failure_while_writing_keeps_what_was_there(tmp_path: Path, monkeypatch, fault) -> None:
    def fail(descriptor: int) -> None:
        raise fault

    source = save_images(tmp_path / "source")
    old = pack("mine", tmp_path / "data", source=source).read_bytes()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(fault)):
        pack("mine", tmp_path / "data", source=source)
    with pytest.raises(type(fault)):
        pack("other", tmp_path / "data", source=source)
    assert left(tmp_path / "data") == ["mine.safetensors"]
    assert (tmp_path / "data" / "mine.safetensors").read_bytes() == old


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "cifar10.packing" / "download").mkdir(parents=True)
    (tmp_path / "cifar10.packing" / "download" / "archive").write_bytes(b"half")
    pack("cifar10", tmp_path)
    assert left(tmp_path) == ["cifar10.safetensors"]


def test_two_processes_do_not_pack_into_one_folder(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".packing.lock"),
        pytest.raises(DataError, match="another process is packing"),
    ):
        pack("cifar10", tmp_path)


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_class_folders_are_packed_in_the_order_of_their_names(
    tmp_path: Path, mode: str, channels: int
) -> None:
    source, seen = save_images(tmp_path / "source", mode), []
    (source / "train" / "cat" / ".DS_Store").write_bytes(b"x")
    pack("my-images", tmp_path, source=source, progress=lambda *each: seen.append(each))
    assert seen == [(k, 8) for k in range(1, 9)]
    images, labels = read_split("my-images", "train", tmp_path, num_classes=2)
    assert images.shape == (6, 4, 6, channels)
    shades = sorted(zip(images[:, 0, 0, 0].tolist(), labels.tolist(), strict=True))
    assert shades == [(0, 0), (10, 0), (20, 0), (100, 1), (110, 1), (120, 1)]
    assert verify("my-images", tmp_path) == (8, 2, False, True)


FAULTS = {
    "size": (lambda s: Image.new("RGB", (7, 4)).save(s / "train/cat/1.png"), "1.png is 7x4 RGB"),
    "mode": (lambda s: Image.new("L", (6, 4)).save(s / "test/cat/0.png"), "0.png is 6x4 L"),
    "alpha": (lambda s: Image.new("RGBA", (6, 4)).save(s / "test/ant/0.png"), "but is RGBA"),
    "text": (lambda s: (s / "train/ant/notes.txt").write_text("hello"), "notes.txt is not an im"),
    "cut": (
        lambda s: (s / "train/ant/0.png").write_bytes((s / "train/ant/1.png").read_bytes()[:40]),
        "0.png is not an image that can be read",
    ),
    "nested": (lambda s: (s / "train/ant/more").mkdir(), "more is not an image"),
    "empty": (lambda s: (s / "train/bee").mkdir(), "bee must hold images but is empty"),
    "classes": (lambda s: (s / "test/ant").rename(s / "test/bee"), "only one of them has 'ant'"),
    "no test": (lambda s: (s / "test").rename(s / "exam"), "test must be a folder"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_class_folders_is_told_in_one_line(tmp_path: Path, fault: str) -> None:
    source = save_images(tmp_path / "source")
    damage, message = FAULTS[fault]
    damage(source)
    with pytest.raises(DataError, match=message) as caught:
        pack("mine", tmp_path / "data", source=source)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("number", [0, 1, 257])
def test_labels_are_bytes_and_one_class_is_none(tmp_path: Path, number: int) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for k in range(number):
            (tmp_path / split / str(k)).mkdir()
            (tmp_path / split / str(k) / "0.png").touch()
    with pytest.raises(DataError, match=f"2 to 256 classes but has {number}"):
        pack("mine", tmp_path, source=tmp_path)


def test_own_images_take_no_published_name_but_the_same_images_may(tmp_path, monkeypatch) -> None:
    source = save_images(tmp_path / "source")
    with pytest.raises(DataError, match="does not hold the published cifar100"):
        pack("cifar100", tmp_path, source=source)

    pack("mine", tmp_path, source=source)
    digests = {
        split: content_digest(*read_split("mine", split, tmp_path, num_classes=2))
        for split in ("train", "test")
    }
    monkeypatch.setitem(KNOWN, "cifar100", digests)
    pack("cifar100", tmp_path, source=source)
    assert verify("cifar100", tmp_path).known


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", "a.b", "digits", "nosuch"])
def test_a_name_that_cannot_be_packed_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"NAME|scikit-learn|nothing is known"):
        pack(name, tmp_path / "data")
    assert not (tmp_path / "data").exists()
