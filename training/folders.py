"""Images in class folders, as a user keeps them.

Shapes: N images, C channels, H rows, W columns.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from training.packed import Bytes, DataError, Packed

Progress = Callable[[int, int], None]
"""Called with how many images are read and how many there are."""


def from_folders(source: Path, progress: Progress | None = None) -> Packed:
    """Read a data set whose classes are folders; they are numbered in the order of their names.

    Args:
        source: A folder with train/CLASS/IMAGE and test/CLASS/IMAGE.
        progress: Called after each image.

    Raises:
        DataError: In words that name the folder or the image that is wrong.
    """
    files = {split: _class_files(source / split) for split in ("train", "test")}
    classes = list(files["train"])
    if list(files["test"]) != classes:
        differing = sorted(set(classes) ^ set(files["test"]))
        raise DataError(
            f"{source}: train and test must have the same classes "
            f"but only one of them has {differing[0]!r}"
        )
    if not 2 <= len(classes) <= 256:
        raise DataError(f"{source / 'train'} must have 2 to 256 classes but has {len(classes)}")

    total = sum(len(each) for split in files.values() for each in split.values())
    first = files["train"][classes[0]][0]
    shape, done = _pixels(first).shape, 0
    arrays: dict[str, Bytes] = {}
    for split, by_class in files.items():
        labels = np.repeat(np.arange(len(classes)), [len(each) for each in by_class.values()])
        images = np.empty((len(labels), *shape), dtype=np.uint8)
        for k, file in enumerate(file for each in by_class.values() for file in each):
            pixels = _pixels(file)
            if pixels.shape != shape:
                raise DataError(
                    f"{file} is {_looks(pixels.shape)} but {first} is {_looks(shape)}: "
                    "all images must have one size and mode"
                )
            images[k], done = pixels, done + 1
            if progress:
                progress(done, total)
        arrays |= {f"{split}_images": images, f"{split}_labels": labels.astype(np.uint8)}
    return Packed(arrays, classes)


def _class_files(folder: Path) -> dict[str, list[Path]]:
    """The images of each class; hidden files, which file managers leave about, are none."""
    if not folder.is_dir():
        raise DataError(f"{folder} must be a folder with one folder for each class")
    try:
        classes = {
            each.name: sorted(file for file in each.iterdir() if not file.name.startswith("."))
            for each in sorted(folder.iterdir())
            if each.is_dir() and not each.name.startswith(".")
        }
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None
    for name, files in classes.items():
        if not files:
            raise DataError(f"{folder / name} must hold images but is empty")
    return classes


def _pixels(file: Path) -> Bytes:
    """An image, shape [H, W, C]."""
    try:
        with Image.open(file) as image:
            image.load()
            mode, pixels = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} is not an image that can be read: {error}") from None
    if mode not in ("L", "RGB"):
        raise DataError(f"{file} must be RGB or L (8 bit grey) but is {mode}")
    return pixels.reshape(*pixels.shape[:2], -1)


def _looks(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}x{height} {'L' if channels == 1 else 'RGB'}"
