"""A user's own benchmark: completed from its images, and its code tried before it is trained."""

import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from training import BenchmarkError, DataError, reference, search_data, train
from training.custom import resolve
from training.packed import packed_file

NETS = """
    import torch
    from torch import nn

    def build(num_classes):
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
        )

    class Tied(nn.Module):
        def __init__(self, num_classes):
            super().__init__()
            self.first = nn.Linear(3 * 8 * 8, 3 * 8 * 8)
            self.again = nn.Linear(3 * 8 * 8, 3 * 8 * 8)
            self.again.weight = self.first.weight
            self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)
            self.head = nn.Linear(3 * 8 * 8, num_classes)

        def forward(self, images):
            return self.head(self.again(self.first(images.flatten(1)).relu()) * self.frozen)

    class Turned(nn.Module):
        def __init__(self, num_classes):
            super().__init__()
            self.weight = nn.Parameter(0.05 * torch.randn(num_classes, 3 * 8 * 8))

        def forward(self, images):
            return torch.einsum("bi,oi->bo", images.flatten(1), self.weight)
"""


def save_images(folder: Path, number: int = 12) -> None:
    """Two classes that a network can tell apart: dark and light."""
    random = np.random.Generator(np.random.PCG64(1))
    for split, count in (("train", number), ("test", 4)):
        for label, level in (("dark", 40), ("light", 200)):
            (folder / split / label).mkdir(parents=True)
            for k in range(count):
                pixels = random.integers(level - 40, level + 40, size=(8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{k}.png")


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    """A folder with nets.py and images/, whose modules are forgotten afterwards."""
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))
    save_images(tmp_path / "images")
    return tmp_path


def given(**changes) -> dict:
    return {"name": "mine", "architecture": "nets:build", "data": "./images", **changes}


def test_what_is_left_out_is_read_off_the_images(home: Path) -> None:
    entry = resolve(given(), beside=home, folder=home / "data")
    assert entry.num_classes == 2
    assert entry.epochs == 200
    pixels = np.stack(
        [np.asarray(Image.open(file)) / 255 for file in (home / "images/train").rglob("*.png")]
    ).reshape(-1, 3)
    assert entry.mean == pytest.approx(pixels.mean(axis=0), abs=1e-4)
    assert entry.std == pytest.approx(pixels.std(axis=0), abs=1e-4)
    assert packed_file(entry.data, home / "data").is_file()


def test_what_is_given_stands(home: Path) -> None:
    entry = resolve(given(mean=(0.5,) * 3, epochs=3), beside=home, folder=home / "data")
    assert (entry.mean, entry.epochs) == ((0.5, 0.5, 0.5), 3)


def test_the_data_sets_that_are_known_need_not_be_read(home: Path) -> None:
    fields = given(data="digits", architecture="resnet", blocks=(1, 1), width=8, crop_padding=1)
    entry = resolve(fields, beside=home, folder=home / "data")
    assert (entry.num_classes, entry.mean, entry.data_digest) == (10, (0.3053,), None)


def test_other_images_or_other_code_are_another_benchmark(home: Path, monkeypatch) -> None:
    before = resolve(given(), beside=home, folder=home / "data")
    assert resolve(given(), beside=home, folder=home / "data") == before

    Image.new("RGB", (8, 8)).save(home / "images/test/dark/0.png")
    other_images = resolve(given(), beside=home, folder=home / "data")
    assert other_images.data != before.data
    assert other_images.data_digest != before.data_digest
    assert other_images.code_digest == before.code_digest

    monkeypatch.delitem(sys.modules, "nets")
    (home / "nets.py").write_text(textwrap.dedent(NETS) + "# changed\n")
    other_code = resolve(given(), beside=home, folder=home / "data")
    assert other_code.digest != other_images.digest


@pytest.mark.parametrize("architecture", ["nets:build", "nets:Tied"])
def test_a_run_learns_and_goes_on_from_its_checkpoint(home: Path, cross_entropy, architecture):
    fields = given(architecture=architecture, batch_size=8, learning_rate=0.01, crop_padding=1)
    entry = resolve(fields, beside=home, folder=home / "data")
    arguments = {"seed": 1, "epochs": 6}
    data = search_data(entry, folder=home / "data")
    torch.manual_seed(7)
    whole = [
        replace(each, seconds=0.0) for each in train(entry, cross_entropy, data=data, **arguments)
    ]
    assert whole[-1].train_loss < whole[0].train_loss

    first = train(entry, cross_entropy, data=data, checkpoint=home / "run", **arguments)
    for _ in range(3):
        next(first)
    first.close()
    torch.manual_seed(8)  # what the process draws elsewhere changes nothing
    again = train(entry, cross_entropy, data=data, checkpoint=home / "run", **arguments)
    assert [replace(each, seconds=0.0) for each in again] == whole


def test_a_gradient_that_lies_in_another_order_than_its_weight_moves_it_rightly(
    home: Path, cross_entropy
) -> None:
    fields = given(architecture="nets:Turned", batch_size=8, learning_rate=0.01, crop_padding=1)
    entry = resolve(fields, beside=home, folder=home / "data")
    arguments = {"seed": 1, "epochs": 4, "data": search_data(entry, folder=home / "data")}
    ours = [report.train_loss for report in train(entry, cross_entropy, **arguments)]
    theirs = [report.train_loss for report in reference.train(entry, cross_entropy, **arguments)]
    assert ours == pytest.approx(theirs, rel=1e-5)


WRONG = {
    "no module": ("absent:build", "", "cannot be imported: ModuleNotFoundError: No module named"),
    "no function": (
        "nets:nothing",
        "",
        "cannot be imported: AttributeError: module 'nets' has no",
    ),
    "no callable": ("nets:number", "number = 3", "must be a function but is int"),
    "syntax": ("nets:bad", "def bad(:", "cannot be imported: SyntaxError"),
    "raises": (
        "nets:bad",
        "def bad(k): raise ValueError('no\\nway')",
        "raised ValueError: no way",
    ),
    "exits": ("nets:bad", "def bad(k): raise SystemExit", "raised SystemExit"),
    "no network": (
        "nets:bad",
        "def bad(k): return k",
        "must return a torch.nn.Module but got int",
    ),
    "no parameters": ("nets:bad", "def bad(k): return nn.Flatten()", "must have parameters that"),
    "wrong images": (
        "nets:bad",
        "def bad(k): return nn.Conv2d(1, k, 1)",
        "raised on images [2, 3, 8, 8]: RuntimeError",
    ),
    "wrong logits": (
        "nets:bad",
        "def bad(k): return nn.Sequential(nn.Flatten(), nn.Linear(192, k + 1))",
        "must turn images [2, 3, 8, 8] into logits [2, 2] but got [2, 3]",
    ),
    "unused": (
        "nets:bad",
        "class Bad(nn.Sequential):\n"
        "    def forward(self, x): return self[0](x.flatten(1))\n"
        "def bad(k): return Bad(nn.Linear(192, k), nn.Linear(1, 1))",
        "must use its parameter 1.weight for the logits but does not",
    ),
    "other weights each time": (
        "nets:bad",
        "import random\n"
        "def bad(k):\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(192, k))\n"
        "    nn.init.constant_(net[1].weight, random.random())\n"
        "    return net",
        "must give the same weights for the same torch seed but 1.weight differs",
    ),
    "narrow": (
        "nets:bad",
        "def bad(k): return nn.Sequential(nn.Conv2d(3, 4, 1, stride=2), nn.Flatten(), "
        "nn.Linear(64, k))",
        "at least 8 input channels (torch's CPU kernel corrupts memory) but 0 has 3",
    ),
    "gaps in a parameter": (
        "nets:bad",
        "def bad(k):\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(192, k))\n"
        "    net[1].weight = nn.Parameter(torch.zeros(k, 200)[:, :192])\n"
        "    return net",
        "must have parameters without gaps in memory but 1.weight has some: clone it",
    ),
}


@pytest.mark.parametrize(("path", "text", "fault"), WRONG.values(), ids=WRONG)
def test_a_fault_of_the_code_is_one_line(home: Path, capfd, path: str, text: str, fault: str):
    (home / "nets.py").write_text(textwrap.dedent(NETS) + f"print('hello')\n{text}\n")
    with pytest.raises(BenchmarkError) as caught:
        resolve(given(architecture=path), beside=home, folder=home / "data")
    message = str(caught.value)
    assert message.startswith(f"benchmark mine: architecture {path} ")
    assert fault in message
    assert "\n" not in message
    assert capfd.readouterr().out == ""


def test_a_folder_without_images_is_named(home: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/train must be a folder with one folder"):
        resolve(given(data="./nowhere"), beside=home, folder=home / "data")


def test_too_few_images_to_validate_on_are_refused(home: Path) -> None:
    save_images(home / "few", number=4)
    with pytest.raises(DataError, match="must have at least 10 training images but has 8"):
        resolve(given(data="./few"), beside=home, folder=home / "data")


def test_a_file_that_names_no_classes_needs_their_number(home: Path) -> None:
    entry = resolve(given(), beside=home, folder=home / "data")
    arrays = load_file(packed_file(entry.data, home / "data"))
    save_file(arrays, packed_file("plain", home / "data"))
    with pytest.raises(BenchmarkError, match="num_classes must be given for data set 'plain'"):
        resolve(given(data="plain"), beside=home, folder=home / "data")
    plain = resolve(given(data="plain", num_classes=2), beside=home, folder=home / "data")
    assert (plain.mean, plain.data_digest) == (entry.mean, entry.data_digest)
