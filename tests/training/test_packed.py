"""The packed form: what is whole is read, whatever else is refused by a digest."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from training import DataError, benchmark, search_data
from training.packed import (
    KNOWN,
    Packed,
    content_digest,
    in_order,
    packed_file,
    read_split,
    serialised,
    verify,
)

CIFAR = benchmark("resnet20-cifar10")


def small(images: int = 20) -> Packed:
    """A data set like CIFAR-10, with random pixels."""
    random = np.random.Generator(np.random.PCG64(0))
    arrays = {}
    for split, number in (("train", images), ("test", 10)):
        arrays[f"{split}_images"] = random.integers(256, size=(number, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(number, dtype=np.uint8) % 10
    return Packed(arrays, [f"class {k}" for k in range(10)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = packed_file("cifar10", tmp_path)
    path.write_bytes(serialised(small()))
    return path


def alter(file: Path, needle: bytes) -> None:
    """Turn one bit of the file, in the first byte of the needle."""
    content = bytearray(file.read_bytes())
    content[content.index(needle)] ^= 1
    file.write_bytes(content)


def test_what_was_packed_is_found_whole_and_read(file: Path) -> None:
    sound = verify("cifar10", file.parent)
    assert sound == (30, 10, False, True)
    images, labels = read_split("cifar10", "test", file.parent, num_classes=10)
    packed = small().arrays["test_images"], small().arrays["test_labels"]
    order, _ = in_order(*packed)
    assert sorted(order) == list(range(10))
    assert np.array_equal(images, packed[0][order])
    assert np.array_equal(labels, packed[1][order])


def test_every_packing_of_a_data_set_is_read_in_the_same_order(file: Path) -> None:
    before = search_data(CIFAR, folder=file.parent).digest
    arrays = small().arrays
    reverse = {name: np.ascontiguousarray(array[::-1]) for name, array in arrays.items()}
    other = file.parent / "other"
    other.mkdir()
    packed_file("cifar10", other).write_bytes(serialised(Packed(reverse, small().classes)))
    assert search_data(CIFAR, folder=other).digest == before


@pytest.mark.parametrize("array", ["train_images", "train_labels", "test_images", "test_labels"])
def test_one_altered_bit_is_refused(file: Path, array: str) -> None:
    alter(file, small().arrays[array].tobytes())
    with pytest.raises(DataError, match=r"cifar10\.safetensors is damaged: ") as caught:
        verify("cifar10", file.parent)
    assert "\n" not in str(caught.value)
    if array.startswith("train"):
        with pytest.raises(DataError, match="damaged"):
            search_data(CIFAR, folder=file.parent)
    else:  # the search does not even look at the test images
        search_data(CIFAR, folder=file.parent)


def test_an_altered_class_name_is_refused(file: Path) -> None:
    alter(file, b"class 3")
    with pytest.raises(DataError, match="classes has another SHA-256"):
        verify("cifar10", file.parent)


def test_the_same_bytes_in_another_shape_are_refused(file: Path) -> None:
    content = file.read_bytes()
    assert content.count(b"[20,32,32,3]") == 1
    file.write_bytes(content.replace(b"[20,32,32,3]", b"[20,64,16,3]"))
    with pytest.raises(DataError, match="train_images has another SHA-256"):
        search_data(CIFAR, folder=file.parent)


@pytest.mark.parametrize("left", [0, 7, 100, 5000, -1])
def test_a_truncated_file_is_refused(file: Path, left: int) -> None:
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(DataError, match="damaged"):
        verify("cifar10", file.parent)


@pytest.mark.parametrize("metadata", [{"sha256": "x"}, {"sha256": "[]"}, {"classes": "{}"}, {}])
def test_wrong_metadata_are_refused(file: Path, metadata: dict[str, str]) -> None:
    save_file(small().arrays, file, metadata)
    with pytest.raises(DataError, match="damaged"):
        verify("cifar10", file.parent)


def test_a_file_without_digests_is_read(file: Path) -> None:
    save_file(small().arrays, file, {"classes": json.dumps(small().classes)})
    assert verify("cifar10", file.parent) == (30, 10, False, False)


def test_the_digest_of_the_content_knows_no_order_but_all_else() -> None:
    images, labels = small().arrays["train_images"], small().arrays["train_labels"]
    order = np.random.Generator(np.random.PCG64(1)).permutation(len(labels))
    digest = content_digest(images, labels)
    assert content_digest(images[order], labels[order]) == digest
    assert content_digest(images, labels[order]) != digest
    assert content_digest(images.reshape(20, 64, 16, 3), labels) != digest
    assert content_digest(images[:-1], labels[:-1]) != digest


def test_a_known_name_holds_its_published_images_only(tmp_path: Path, monkeypatch) -> None:
    arrays = small().arrays
    digests = {
        split: content_digest(arrays[f"{split}_images"], arrays[f"{split}_labels"])
        for split in ("train", "test")
    }
    monkeypatch.setitem(KNOWN, "known", digests)
    file = packed_file("known", tmp_path)
    metadata = {"classes": json.dumps(small().classes)}
    save_file(arrays, file, metadata)
    assert verify("known", tmp_path) == (30, 10, True, False)

    changed = {name: array.copy() for name, array in load_file(file).items()}
    changed["train_images"][3, 0, 0, 0] ^= 1
    save_file(changed, file, metadata)
    with pytest.raises(DataError, match="its train split has not the digest of the published"):
        verify("known", tmp_path)

    shutil.copy(file, packed_file("unknown", tmp_path))
    assert verify("unknown", tmp_path).known is False
    with pytest.raises(DataError, match=r"losscout data pack other --from DIR$"):
        verify("other", tmp_path)
