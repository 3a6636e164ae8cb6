import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file
from torchvision.transforms import Resize

from training import DataError, benchmark, evaluation_data, search_data
from training.data import data_folder, stratified
from training.packed import read_split

CIFAR = benchmark("resnet20-cifar10")


def rows(part) -> set[bytes]:
    return {image.numpy().tobytes() for image in part.images}


def unpadded(part) -> torch.Tensor:
    end = part.images.shape[1] - part.padding
    return part.images[:, part.padding : end, part.padding : end]


def tensors(**changes) -> dict[str, np.ndarray]:
    """A packed data set like CIFAR-10, 20 training and 10 test images."""
    random = np.random.Generator(np.random.PCG64(0))
    packed = {
        "train_images": random.integers(256, size=(20, 32, 32, 3), dtype=np.uint8),
        "train_labels": np.arange(20, dtype=np.uint8) % 10,
        "test_images": random.integers(256, size=(10, 32, 32, 3), dtype=np.uint8),
        "test_labels": np.arange(10, dtype=np.uint8),
    } | changes
    return {name: array for name, array in packed.items() if array is not None}


def pack(folder: Path, **changes) -> Path:
    file = folder / "cifar10.safetensors"
    save_file(tensors(**changes), file)
    return file


def test_the_splits_of_digits_are_those_written_down(digits) -> None:
    assert (
        search_data(digits).digest
        == "99c0cd22b37595314dced1de483347bde14409b9c1b246de1b46f3e455bf5229"
    )
    assert (
        evaluation_data(digits).digest
        == "beee55ed2c9ce540807b590a4b2c4c90cd78979fe31aee2e5c7bb78acc56903f"
    )


def test_the_splits_of_digits_are_disjoint_and_stratified(digits) -> None:
    search, evaluation = search_data(digits), evaluation_data(digits)
    assert [len(part.labels) for part in (search.training, search.scoring)] == [800, 400]
    assert [len(part.labels) for part in (evaluation.training, evaluation.scoring)] == [1200, 597]
    for part, whole in (
        (search.scoring, evaluation.training),
        (search.training, evaluation.training),
    ):
        counts, all_counts = part.labels.bincount(), whole.labels.bincount()
        assert (counts - all_counts * len(part.labels) / len(whole.labels)).abs().max() <= 1


def test_search_cannot_reach_a_test_image(digits) -> None:
    plain = replace(digits, crop_padding=0)
    search, evaluation = search_data(plain), evaluation_data(plain)
    seen = rows(search.training) | rows(search.scoring)
    assert seen == rows(evaluation.training)
    assert not seen & rows(evaluation.scoring)
    assert not rows(search.training) & rows(search.scoring)


def test_search_reads_no_test_tensor(tmp_path: Path) -> None:
    pack(tmp_path, test_images=None, test_labels=None)
    assert len(search_data(CIFAR, folder=tmp_path).scoring.labels) == 2
    with pytest.raises(DataError, match="damaged"):
        evaluation_data(CIFAR, folder=tmp_path)


def test_a_packed_data_set_arrives_whole_and_padded(tmp_path: Path) -> None:
    pack(tmp_path)
    data = evaluation_data(CIFAR, folder=tmp_path)
    images, labels = read_split("cifar10", "train", tmp_path, num_classes=10)
    assert data.training.images.shape == (20, 40, 40, 3)
    assert np.array_equal(unpadded(data.training), images)
    assert data.training.images.sum() == unpadded(data.training).sum()
    assert np.array_equal(data.training.labels, labels)
    images, _ = read_split("cifar10", "test", tmp_path, num_classes=10)
    assert np.array_equal(data.scoring.images, images)


def test_benchmarks_that_want_the_same_images_share_them(tmp_path: Path) -> None:
    pack(tmp_path)
    other = replace(CIFAR, name="other", width=8)
    assert search_data(CIFAR, folder=tmp_path) is search_data(other, folder=tmp_path)


def test_the_validation_part_is_a_tenth_of_each_class() -> None:
    labels_N = np.repeat(np.arange(100, dtype=np.uint8), 500)
    kept, held_out = stratified(labels_N, 5000, name="cifar100/validation")
    assert np.bincount(labels_N[held_out]).tolist() == [50] * 100
    assert np.array_equal(np.sort(np.concatenate((kept, held_out))), np.arange(50_000))


@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_equals_torchvision_on_pil_images(tmp_path: Path, channels: int) -> None:
    random = np.random.Generator(np.random.PCG64(1))
    images = random.integers(256, size=(20, 28, 28, channels), dtype=np.uint8)
    pack(tmp_path, train_images=images)
    data = evaluation_data(replace(CIFAR, resize=32), folder=tmp_path)
    packed, _ = read_split("cifar10", "train", tmp_path, num_classes=10)
    for image, ours in zip(packed, unpadded(data.training), strict=True):
        resized = np.asarray(Resize(32)(Image.fromarray(image.squeeze())))
        assert np.array_equal(ours, np.broadcast_to(resized.reshape(32, 32, -1), (32, 32, 3)))


def test_a_missing_data_set_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        search_data(CIFAR, folder=tmp_path)
    assert str(caught.value) == (
        f"data set 'cifar10' not found: expected cifar10.safetensors in {tmp_path}; "
        "name another folder with --data or LOSSCOUT_DATA, or get it with: "
        "losscout data pack cifar10"
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"\x80\x04garbage" * 100),
        lambda file: pack(file.parent, train_images=None),
        lambda file: pack(file.parent, train_images=np.zeros((20, 32, 32, 3), np.float32)),
        lambda file: pack(file.parent, train_images=np.zeros((20, 32, 32), np.uint8)),
        lambda file: pack(file.parent, train_images=np.zeros((19, 32, 32, 3), np.uint8)),
        lambda file: pack(file.parent, train_images=np.zeros((20, 32, 32, 2), np.uint8)),
        lambda file: pack(file.parent, train_labels=np.arange(20, dtype=np.uint8)),
        lambda file: pack(file.parent, train_labels=np.zeros(20, np.uint8)),
    ],
    ids=(
        "truncated",
        "empty",
        "garbage",
        "absent",
        "float",
        "3-D",
        "short",
        "2-channel",
        "ids",
        "one",
    ),
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, damage) -> None:
    damage(pack(tmp_path))
    with pytest.raises(DataError, match=r"cifar10\.safetensors is damaged: ") as caught:
        search_data(CIFAR, folder=tmp_path)
    assert "\n" not in str(caught.value)


def test_the_data_folder_is_given_or_named_or_the_default(monkeypatch) -> None:
    monkeypatch.setenv("LOSSCOUT_DATA", "/named")
    assert data_folder(Path("/given")) == Path("/given")
    assert data_folder() == Path("/named")
    monkeypatch.delenv("LOSSCOUT_DATA")
    assert data_folder() == Path.home() / ".cache" / "losscout"


@pytest.mark.slow
@pytest.mark.skipif("LOSSCOUT_DATA" not in os.environ, reason="needs the packed data sets")
@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("resnet56-cifar100", "9a1097bd19b22280"),
        ("mobilenetv2-fmnist", "66c9441ecaaec316"),
    ],
)
def test_the_splits_of_the_real_data_sets_are_those_written_down(name: str, digest: str) -> None:
    assert search_data(benchmark(name)).digest[:16] == digest
