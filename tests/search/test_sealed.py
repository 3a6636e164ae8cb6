"""The test split is sealed: a search that finds noise in its place is the same, trial by trial."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from losses import published
from search.evaluation import Entry
from search.executors import Place
from search.launch import evaluate_loss
from studies.reading import parse
from studies.view import trials_of
from tests.search import conftest
from training.custom import resolve
from training.packed import Packed, packed_file, serialised

STUDY = conftest.TINY.replace("resnet8-digits", "sealed").replace("trials = 6", "trials = 5")
OWN = """
[[benchmarks]]
name = "sealed"
architecture = "resnet"
blocks = [1, 1, 1]
width = 8
data = "mine"
batch_size = 64
crop_padding = 1
flip = false
epochs = 2
"""


def pack(folder: Path, *, noise: bool) -> None:
    """Real digits, with their test images or with noise in their place."""
    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)[:600]
    labels = labels.astype(np.uint8)[:600]
    arrays = {"train_images": pixels[:400], "train_labels": labels[:400]}
    arrays |= {"test_images": pixels[400:], "test_labels": labels[400:]}
    if noise:
        random = np.random.Generator(np.random.PCG64(1))
        arrays["test_images"] = random.integers(256, size=(200, 8, 8, 1), dtype=np.uint8)
        arrays["test_labels"] = np.roll(arrays["test_labels"], 1)
    folder.mkdir()
    names = [str(k) for k in range(10)]
    packed_file("mine", folder).write_bytes(serialised(Packed(arrays, names)))


def test_noise_in_place_of_the_test_images_changes_no_trial(home, another_home, tmp_path):
    text = STUDY + OWN
    definition = parse(text, source="tiny.toml")
    trials, tested = [], []
    for each, noise in ((home, False), (another_home, True)):
        folder = tmp_path / f"noise {noise}"
        pack(folder, noise=noise)
        own = resolve(definition.benchmarks[0].given, beside=folder, folder=folder)
        place = Place(device="cpu", folder=folder, own=(own,))
        each.settings = replace(each.settings, place=place)
        each.run(definition, text)
        trials.append(
            [
                (trial.params, trial.intermediate_values, trial.values, trial.state)
                for trial in trials_of(each.database, "tiny")
            ]
        )
        entry = Entry(name="focal", spec=published()["focal"], seeds=[42])
        tested += evaluate_loss(each.settings, entry, ["sealed"], each.watching, epochs=4)
    assert len(trials[0]) == 5
    assert trials[0] == trials[1]
    # The noise is really there: on the test split the same training looks like guessing.
    assert tested[0]["final_accuracy"] > tested[1]["final_accuracy"] + 10
