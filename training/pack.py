"""Packing data sets: from torchvision's downloads, or from folders of images."""

import errno
import http.client
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from training.folders import Progress, from_folders
from training.packed import (
    Bytes,
    DataError,
    Packed,
    Split,
    content_digest,
    is_another,
    packed_file,
    serialised,
)

# What torchvision calls the data sets that it can fetch.
DOWNLOADS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion_mnist": "FashionMNIST"}

BROKEN = (
    OSError,
    RuntimeError,
    ValueError,
    EOFError,
    tarfile.TarError,
    zlib.error,
    http.client.HTTPException,
)
"""What torchvision raises for a download that broke off, or that is not what it must be."""


def pack(
    name: str, folder: Path, *, source: Path | None = None, progress: Progress | None = None
) -> Path:
    """Make the one file of a data set, whole or not at all.

    Args:
        name: One of `DOWNLOADS`, or with a source any name.
        folder: Where the packed data sets lie; made if it is not there.
        source: A folder with train/CLASS/IMAGE and test/CLASS/IMAGE, or None to download.
        progress: Called for each image that is read from the source.

    Returns:
        The file.

    Raises:
        DataError: Nothing is known to download by this name, or the source does not hold what it
            must, in words that name the folder or the image.
        OSError: The download broke off twice, or the disk is full. No half file is left.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise DataError(f"NAME must be of letters, digits, - and _ but got {name!r}")
    if name == "digits":
        raise DataError("'digits' comes with scikit-learn: it needs no packing")
    if source is None and name not in DOWNLOADS:
        raise DataError(
            f"nothing is known to download for {name!r}: choose one of {', '.join(DOWNLOADS)}, "
            "or give class folders with --from"
        )
    packed = None
    if source is not None:
        packed = from_folders(source, progress)
        _check_published(name, packed, source=str(source))
    return _store(name, folder, packed)


def pack_images(
    prefix: str, folder: Path, *, source: Path, progress: Progress | None = None
) -> str:
    """Pack a folder of images under a name that says what they are, unless that is there.

    Returns:
        The name: the prefix and twelve digits of the images' digest, so that changed images are
        another data set.

    Raises:
        DataError: The source does not hold what it must.
        OSError: The disk is full. No half file is left.
    """
    packed = from_folders(source, progress)
    splits: tuple[Split, ...] = ("train", "test")
    digests = (
        content_digest(packed.arrays[f"{split}_images"], packed.arrays[f"{split}_labels"])
        for split in splits
    )
    whole = sha256("".join((*digests, *packed.classes)).encode()).hexdigest()
    name = re.sub(r"[^\w-]", "-", prefix) + f"-{whole[:12]}"
    if not packed_file(name, folder).is_file():
        _store(name, folder, packed)
    return name


def _store(name: str, folder: Path, packed: Packed | None) -> Path:
    """Write a data set's file in one move; None is downloaded."""
    file = packed_file(name, folder)
    with _working_folder(file) as working:
        side = working / file.name
        _write(side, serialised(packed or _downloaded(name, working / "download")))
        side.replace(file)
    return file


@contextmanager
def _working_folder(file: Path) -> Iterator[Path]:
    """A folder beside the file, for one process at a time, that is gone afterwards."""
    folder = file.parent
    folder.mkdir(parents=True, exist_ok=True)
    working = file.with_suffix(".packing")
    try:
        with FileLock(folder / ".packing.lock", timeout=0):
            shutil.rmtree(working, ignore_errors=True)  # of a process that was killed
            working.mkdir()
            try:
                yield working
            finally:
                shutil.rmtree(working, ignore_errors=True)
    except Timeout:
        raise DataError(f"another process is packing into {folder}: wait for its end") from None


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())  # before the rename: else a power cut may leave an empty file


def _check_published(name: str, packed: Packed, *, source: str) -> None:
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        images, labels = (packed.arrays[f"{split}_{part}"] for part in ("images", "labels"))
        if is_another(name, split, content_digest(images, labels)):
            raise DataError(
                f"{source} does not hold the published {name}: its {split} split has another "
                "digest; give your own images a name of their own"
            )


def _downloaded(name: str, folder: Path) -> Packed:
    """A data set from torchvision, which checks what it fetches; twice if the first one broke."""
    for attempt in (1, 2):
        # torchvision takes a half unpacked file for a whole one, so each attempt starts with none
        shutil.rmtree(folder, ignore_errors=True)
        try:
            packed = _from_torchvision(DOWNLOADS[name], folder)
            _check_published(name, packed, source="the download")
        except BROKEN as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            if attempt == 2:
                raise OSError(f"the download failed twice: {error}") from error
        else:
            return packed
    raise AssertionError("unreachable")


def _from_torchvision(kind: str, folder: Path) -> Packed:
    from torchvision import datasets  # takes seconds to import

    arrays: dict[str, Bytes] = {}
    classes: list[str] = []
    for split in ("train", "test"):
        found = getattr(datasets, kind)(folder, train=split == "train", download=True)
        images: Bytes = np.ascontiguousarray(found.data, dtype=np.uint8)
        arrays[f"{split}_images"] = images[..., None] if images.ndim == 3 else images
        arrays[f"{split}_labels"] = np.asarray(found.targets, dtype=np.uint8)
        classes = list(found.classes)
    return Packed(arrays, classes)
