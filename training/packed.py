"""Packed data sets: one safetensors file each, which is refused when a digest does not hold.

A file holds train_images (uint8 [N, H, W, C]), train_labels (uint8 [N]), test_images and
test_labels; its metadata holds the class names as JSON under "classes", and under "sha256" the
digest of each array and of the class names. Files without digests of their own are read too.

Checking the training split of CIFAR-100 takes about half a second, so every load checks it.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from training.benchmarks import DATA_SETS

Split = Literal["train", "test"]
Bytes = npt.NDArray[np.uint8]

# What `content_digest` says of the published data sets.
KNOWN: dict[str, dict[Split, str]] = {
    "cifar100": {
        "train": "2173a9e1df9945e68c766bd701a2f7f8ce9c6920b4ba872cd9ed3b39e5cd2883",
        "test": "1cafb880f5c96c7dbb1e4e5203965ba338e921634da63cbdc275c88c13e8bdfe",
    },
    "fashion_mnist": {
        "train": "835b8ea3bbb6652fafb66e2d1de31f8d21b72ab9dbd0022a2040cf717021ed86",
        "test": "eec46c7633dc9d9ee602cb892834cacc20db0f04953dd5bc85488f0014450fb5",
    },
}


class DataError(ValueError):
    """A data set that is missing or damaged."""


class Packed(NamedTuple):
    """A data set in memory: the four arrays by name, and the names of its classes in order."""

    arrays: dict[str, Bytes]
    classes: list[str]


class Sound(NamedTuple):
    """What was found in a file that is whole: its size, and which digests there were to hold."""

    images: int
    classes: int
    known: bool
    stored: bool


def packed_file(name: str, folder: Path) -> Path:
    """Where a data set lies."""
    return folder / f"{name}.safetensors"


def content_digest(images: Bytes, labels: Bytes) -> str:
    """The SHA-256 of the labelled images as a set: whatever order they come in, it is the same.

    Args:
        images: Shape [N, H, W, C].
        labels: Class ids, shape [N].
    """
    return in_order(images, labels)[1]


def in_order(images: Bytes, labels: Bytes) -> tuple[list[int], str]:
    """The one order of these images, by their own digests, and `content_digest` of them all."""
    each = [
        sha256(image.tobytes() + bytes((label,))).digest()
        for image, label in zip(images, labels.tolist(), strict=True)
    ]
    order = sorted(range(len(each)), key=each.__getitem__)
    whole = sha256(str(images.shape[1:]).encode() + b"".join(each[i] for i in order))
    return order, whole.hexdigest()


def is_another(name: str, split: Split, digest: str) -> bool:
    """Whether images of this digest are surely not those that were published under this name."""
    return name in KNOWN and digest != KNOWN[name][split]


def read_split(
    name: str, split: Split, folder: Path, *, num_classes: int, channels: int = 3
) -> tuple[Bytes, Bytes]:
    """One split of a packed data set; the other split is not read.

    Images come in the order of their digests: splits and draws go by position, and every packing
    of a data set must give the same ones.

    Args:
        name: Of the data set.
        split: The one to read.
        folder: Where the packed data sets lie.
        num_classes: How many classes there must be, each with an image.
        channels: How many channels images may have if they are not grey.

    Returns:
        Images, shape [N, H, W, C], and labels, shape [N].

    Raises:
        DataError: The file is missing, truncated or altered, or holds something else.
    """
    file = packed_file(name, folder)
    _, stored = _metadata(name, file)
    try:
        with safe_open(file, framework="numpy") as tensors:
            images: Bytes = tensors.get_tensor(f"{split}_images")
            labels: Bytes = tensors.get_tensor(f"{split}_labels")
    except (SafetensorError, OSError) as error:
        raise _damaged(file, str(error)) from error
    sound = (
        images.dtype == labels.dtype == np.uint8
        and images.ndim == 4
        and images.shape[3] in (1, channels)
        and labels.shape == images.shape[:1]
        and np.array_equal(np.unique(labels), np.arange(num_classes))
    )
    if not sound:
        raise _damaged(
            file,
            f"{split}_images must be uint8 [N, H, W, C] and {split}_labels uint8 [N] "
            f"with all of {num_classes} classes",
        )
    for part, array in (("images", images), ("labels", labels)):
        if stored and stored.get(f"{split}_{part}") != _digest(array):
            raise _damaged(file, f"{split}_{part} has another SHA-256 than when it was packed")
    order, digest = in_order(images, labels)
    if is_another(name, split, digest):
        raise _damaged(file, f"its {split} split has not the digest of the published {name}")
    return images[order], labels[order]


def verify(name: str, folder: Path) -> Sound:
    """Check all there is to check of a packed data set.

    Raises:
        DataError: The data set is missing or damaged.
    """
    file = packed_file(name, folder)
    classes, stored = _metadata(name, file)
    if stored and stored.get("classes") != _classes_digest(classes):
        raise _damaged(file, "classes has another SHA-256 than when it was packed")
    splits = [
        read_split(name, split, folder, num_classes=len(classes)) for split in ("train", "test")
    ]
    return Sound(
        images=sum(len(images) for images, _ in splits),
        classes=len(classes),
        known=name in KNOWN,
        stored=bool(stored),
    )


def class_names(name: str, folder: Path) -> list[str]:
    """The names of a data set's classes, in order; empty if its file holds none.

    Raises:
        DataError: The data set is missing or damaged.
    """
    return _metadata(name, packed_file(name, folder))[0]


def serialised(packed: Packed) -> bytes:
    """The content of a packed data set's file."""
    digests = {name: _digest(array) for name, array in packed.arrays.items()}
    digests["classes"] = _classes_digest(packed.classes)
    metadata = {"classes": json.dumps(packed.classes), "sha256": json.dumps(digests)}
    return save(packed.arrays, metadata)


def _metadata(name: str, file: Path) -> tuple[list[str], dict[str, str]]:
    """The class names and the digests that a file holds; both empty where it holds none."""
    if not file.is_file():
        source = "" if name in DATA_SETS else " --from DIR"
        raise DataError(
            f"data set {name!r} not found: expected {file.name} in {file.parent}; "
            "name another folder with --data or LOSSCOUT_DATA, or get it with: "
            f"losscout data pack {name}{source}"
        )
    try:
        with safe_open(file, framework="numpy") as tensors:
            metadata = tensors.metadata() or {}
        classes = json.loads(metadata.get("classes", "[]"))
        stored = json.loads(metadata.get("sha256", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(file, str(error)) from error
    if not (isinstance(classes, list) and isinstance(stored, dict)):
        raise _damaged(file, "classes must be a list and sha256 a table, both as JSON")
    return classes, stored


def _digest(array: Bytes) -> str:
    """Of shape and bytes: the same bytes in another shape are other images."""
    digest = sha256(str(array.shape).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _classes_digest(classes: list[str]) -> str:
    return sha256(json.dumps(classes).encode()).hexdigest()


def _damaged(file: Path, why: str) -> DataError:
    return DataError(f"data set file {file} is damaged: {why}")
