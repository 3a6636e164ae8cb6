"""Data sets, resident on the device as bytes, and their fixed splits.

Search sees a part of the training split and is scored on the rest of it. The test images are
another matter: only `evaluation_data` ever reads them.

Shapes: N images of a part, C channels, H rows, W columns.
"""

import hashlib
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from training.benchmarks import Benchmark
from training.packed import Bytes, DataError, Split, read_split

Kind = Literal["search", "evaluation"]
Indices = npt.NDArray[np.int64]

# Part of the name of every split. Another salt gives other splits, and results never compare.
SALT = "losscout-1"
DIGITS_TEST_IMAGES = 597  # of 1,797: a third


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Images and labels on one device.

    Attributes:
        images: Bytes with `padding` zeros on every side, shape [N, H, W, C].
        labels: Class ids, int64, shape [N].
        padding: Pixels.
    """

    images: Tensor
    labels: Tensor
    padding: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """What a run trains on and what it is scored on.

    Attributes:
        kind: "search" for parts of the training split, "evaluation" for training and test split.
        training: Padded for random crops.
        scoring: Not padded.
        digest: SHA-256 of the bytes of both parts.
    """

    kind: Kind
    training: Part
    scoring: Part
    digest: str


def search_data(
    benchmark: Benchmark, *, folder: Path | None = None, device: torch.device | str = "cpu"
) -> Data:
    """The training split, parted for search: nothing in the result leads to a test image.

    Args:
        benchmark: Whose data set is wanted.
        folder: Where the packed data sets lie; see `data_folder`.
        device: Where the bytes will lie. They are read once in a process.

    Raises:
        DataError: The data set is missing, or a digest of its file does not hold.
    """
    return _load("search", _look(benchmark), data_folder(folder), torch.device(device))


def evaluation_data(
    benchmark: Benchmark, *, folder: Path | None = None, device: torch.device | str = "cpu"
) -> Data:
    """The whole training split, scored on the sealed test split; see `search_data`."""
    return _load("evaluation", _look(benchmark), data_folder(folder), torch.device(device))


@lru_cache(maxsize=4)
def subset(data: Data, images: int, *, name: str) -> Data:
    """The same data with fewer training images, each class in its share: for dry runs.

    Args:
        data: Whose scoring part stays whole.
        images: How many training images are left.
        name: Names the choice; the same name and number give the same images.

    Raises:
        DataError: There are not so many images.
    """
    part = data.training
    if not 1 <= images <= len(part.labels):
        raise DataError(
            f"subset must be at least 1 and at most {len(part.labels)} but got {images}"
        )
    labels = part.labels.cpu().numpy().astype(np.uint8)
    chosen = torch.from_numpy(stratified(labels, images, name=f"{name}/subset")[1])
    chosen = chosen.to(part.labels.device)
    fewer = replace(part, images=part.images[chosen], labels=part.labels[chosen])
    digest = hashlib.sha256(f"{data.digest}/{images}".encode()).hexdigest()
    return replace(data, training=fewer, digest=digest)


def data_folder(folder: Path | None = None) -> Path:
    """The folder itself when given, else what LOSSCOUT_DATA names, else ~/.cache/losscout."""
    return Path(folder or os.environ.get("LOSSCOUT_DATA") or "~/.cache/losscout").expanduser()


def stratified(labels_N: Bytes, held_out: int, *, name: str) -> tuple[Indices, Indices]:
    """Part images so that each class gives its share, to within one image.

    The order is that of SHA-256 digests of name and index, which no library's update changes.

    Args:
        labels_N: Class ids.
        held_out: How many images the second part gets.
        name: Names the split; another name gives another one.

    Returns:
        Indices of the images kept and of those held out, each ascending.
    """
    keys = [hashlib.sha256(f"{SALT}/{name}/{i}".encode()).digest() for i in range(len(labels_N))]
    turns: list[tuple[float, int, int]] = []
    for label in np.unique(labels_N).tolist():
        members = sorted(np.flatnonzero(labels_N == label).tolist(), key=keys.__getitem__)
        turns += [((k + 0.5) / len(members), label, i) for k, i in enumerate(members)]
    order = np.array([index for _, _, index in sorted(turns)], dtype=np.int64)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


class _Look(NamedTuple):
    """What a benchmark wants its images to look like: benchmarks that agree share the bytes."""

    data: str
    num_classes: int
    channels: int
    resize: int | None
    padding: int


def _look(benchmark: Benchmark) -> _Look:
    return _Look(
        data=benchmark.data,
        num_classes=benchmark.num_classes,
        channels=len(benchmark.mean),
        resize=benchmark.resize,
        padding=benchmark.crop_padding,
    )


@lru_cache(maxsize=8)
def _load(kind: Kind, look: _Look, folder: Path, device: torch.device) -> Data:
    images, labels = _split("train", look, folder)
    if kind == "evaluation":
        scoring_images, scoring_labels = _split("test", look, folder)
    else:
        share = 3 if look.data == "digits" else 10
        kept, held_out = stratified(labels, len(labels) // share, name=f"{look.data}/validation")
        scoring_images, scoring_labels = images[held_out], labels[held_out]
        images, labels = images[kept], labels[kept]

    digest = hashlib.sha256()
    for array in (images, labels, scoring_images, scoring_labels):
        digest.update(array.tobytes())
    return Data(
        kind=kind,
        training=_part(images, labels, padding=look.padding, device=device),
        scoring=_part(scoring_images, scoring_labels, padding=0, device=device),
        digest=digest.hexdigest(),
    )


def _part(images: Bytes, labels: Bytes, *, padding: int, device: torch.device) -> Part:
    sides = (padding, padding)
    return Part(
        images=F.pad(torch.from_numpy(images), (0, 0, *sides, *sides)).to(device),
        labels=torch.from_numpy(labels.astype(np.int64)).to(device),
        padding=padding,
    )


def _split(split: Split, look: _Look, folder: Path) -> tuple[Bytes, Bytes]:
    if look.data == "digits":
        images, labels = _digits(split)
    else:
        images, labels = read_split(
            look.data, split, folder, num_classes=look.num_classes, channels=look.channels
        )
    if look.resize:
        images = _resized(images, look.resize)
    return np.repeat(images, look.channels // images.shape[3], axis=3), labels


def _digits(split: Split) -> tuple[Bytes, Bytes]:
    """One split of scikit-learn's digits: rows of 8 x 8 grey levels, 0 to 16, and a label."""
    # The file alone: the package takes seconds to import.
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("data set 'digits' needs scikit-learn: pip install scikit-learn")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images = np.rint(rows[:, :-1].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    labels = rows[:, -1]
    train, test = stratified(labels, DIGITS_TEST_IMAGES, name="digits/test")
    chosen = train if split == "train" else test
    return images[chosen], labels[chosen]


def _resized(images: Bytes, side: int) -> Bytes:
    """Bilinear, as torchvision's Resize does on PIL images: bytes in, bytes out."""
    channels = images.shape[3]
    resized = [
        np.asarray(
            Image.fromarray(image[..., 0] if channels == 1 else image).resize(
                (side, side), Image.Resampling.BILINEAR
            )
        )
        for image in images
    ]
    return np.stack(resized).reshape(-1, side, side, channels)
