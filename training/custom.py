"""A user's own benchmark: any architecture, on packed images or on a folder of them.

What its protocol leaves open is read off the images; what its results depend on beside the
protocol, images and code, goes into the protocol as digests.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from training.benchmarks import Benchmark, BenchmarkError, benchmarks
from training.data import search_data
from training.folders import Progress
from training.pack import pack_images
from training.packed import Bytes, DataError, class_names, content_digest, read_split

LEAST_IMAGES = 10
"""In the training split: a tenth of it is the validation part."""


def resolve(
    given: Mapping[str, Any], *, beside: Path, folder: Path, progress: Progress | None = None
) -> Benchmark:
    """Complete a benchmark.

    Args:
        given: Fields of `Benchmark`. Its `data` is the name of a packed data set, or the path of
            a folder with train/CLASS/IMAGE and test/CLASS/IMAGE, which has a slash in it. Number
            of classes, means and standard deviations may be left out.
        beside: Where paths and modules are looked for.
        folder: Where the packed data sets lie; a folder of images is packed into it.
        progress: Called for each image that is read from a folder.

    Raises:
        BenchmarkError: A field breaks its rule, or the architecture does.
        DataError: The data set is missing or damaged, or the folder does not hold what it must.
    """
    data = str(given["data"])
    if "/" in data:
        data = pack_images(str(given["name"]), folder, source=beside / data, progress=progress)
    fields = {**_facts(data, folder, given.get("num_classes")), **given, "data": data}
    entry = Benchmark(**fields, modules=str(beside.resolve()))
    images = search_data(entry, folder=folder).scoring.images
    if not entry.has_own_architecture:
        return replace(entry, modules=None)
    from training.models import own

    _, height, width, _ = images.shape
    return replace(entry, code_digest=own.check(entry, height=height, width=width))


def _facts(data: str, folder: Path, num_classes: int | None) -> dict[str, Any]:
    """What the images say of themselves: classes, means, standard deviations and a digest."""
    for known in benchmarks().values():
        if known.data == data:
            return {"num_classes": known.num_classes, "mean": known.mean, "std": known.std}
    num_classes = num_classes or len(class_names(data, folder))
    if num_classes < 2:
        raise BenchmarkError(
            f"num_classes must be given for data set {data!r}, whose file names no classes"
        )
    splits = {
        split: read_split(data, split, folder, num_classes=num_classes)
        for split in ("train", "test")
    }
    images, labels = splits["train"]
    if len(labels) < LEAST_IMAGES:
        raise DataError(
            f"data set {data!r} must have at least {LEAST_IMAGES} training images "
            f"but has {len(labels)}"
        )
    mean, std = _statistics(images)
    digests = "".join(content_digest(*each) for each in splits.values())
    return {"num_classes": num_classes, "mean": mean, "std": std, "data_digest": digests}


def _statistics(images: Bytes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, pixels in [0, 1], to four digits."""
    levels = np.arange(256) / 255
    shares = [
        np.bincount(images[..., channel].ravel(), minlength=256) / images[..., channel].size
        for channel in range(images.shape[3])
    ]
    means = [float(share @ levels) for share in shares]
    variances = [
        float(share @ (levels - mean) ** 2) for share, mean in zip(shares, means, strict=True)
    ]
    return tuple(round(m, 4) for m in means), tuple(round(v**0.5, 4) for v in variances)
