import pickle
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from training import Diverged, TrainingError, evaluation_data, train
from training.checkpoint import read, write
from training.engine import Engine

EPOCHS = 3


def same(reports) -> list:
    """The reports without what no two runs share."""
    return [replace(report, seconds=0.0) for report in reports]


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return read(checkpoint)[0]


def equal(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(small, smoothed, tmp_path_factory):
    """An uninterrupted run of each architecture: its reports and its last checkpoint."""
    file = tmp_path_factory.mktemp("whole") / "run.safetensors"
    reports = same(train(small, smoothed(), seed=7, epochs=EPOCHS, checkpoint=file))
    return reports, file


def test_cross_entropy_learns_digits(digits, cross_entropy) -> None:
    reports = list(train(digits, cross_entropy, seed=42, epochs=digits.epochs))
    assert [report.epoch for report in reports] == list(range(15))
    assert reports[-1].accuracy > 95
    assert reports[-1].cross_entropy < 0.2
    assert reports[-1].train_loss < 0.3 < reports[0].train_loss
    assert all(report.seconds > 0 for report in reports)


def test_the_whole_training_split_can_be_trained_on(digits, cross_entropy) -> None:
    data = evaluation_data(digits)
    (report,) = train(digits, cross_entropy, seed=42, epochs=1, data=data)
    assert report.accuracy * 597 / 100 == pytest.approx(round(report.accuracy * 597 / 100))


@pytest.mark.usefixtures("untouched_global_generator")
def test_a_run_leaves_the_global_generator_alone(small, smoothed) -> None:
    list(train(small, smoothed(), seed=7, epochs=1))


def test_the_same_seed_gives_the_same_run_whatever_runs_beside_it(
    small, digits, smoothed, cross_entropy, whole, tmp_path: Path
) -> None:
    file = tmp_path / "run.safetensors"
    run = train(small, smoothed(), seed=7, epochs=EPOCHS, checkpoint=file)
    other = train(digits, cross_entropy, seed=8, epochs=EPOCHS)
    reports = []
    for report, _ in zip(run, other, strict=True):
        reports.append(report)
        torch.rand(3)
    assert same(reports) == whole[0]
    assert equal(file, whole[1])


def test_each_epoch_has_an_order_of_its_own(digits) -> None:
    loss = Poisoned(epoch=9, what="")
    list(train(digits, loss, seed=7, epochs=2))
    first, second = loss.labels_by_epoch[0], loss.labels_by_epoch[1]
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.mark.parametrize("change", [{"seed": 8}, {"epochs": 4}])
def test_another_seed_or_length_gives_another_run(digits, cross_entropy, change) -> None:
    one = list(train(digits, cross_entropy, seed=7, epochs=3))[1:]
    other = list(train(digits, cross_entropy, **({"seed": 7, "epochs": 3} | change)))[1:3]
    assert all(a.train_loss != b.train_loss for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("stop", range(1, EPOCHS + 1))
def test_a_closed_run_goes_on_as_if_never_closed(
    small, smoothed, whole, tmp_path: Path, stop: int
) -> None:
    file = tmp_path / "run.safetensors"
    arguments = {"seed": 7, "epochs": EPOCHS, "checkpoint": file}
    run = train(small, smoothed(), **arguments)
    for _ in range(stop):
        next(run)
    run.close()
    assert len(read(file)[1]["reports"]) == stop
    assert same(train(small, smoothed(), **arguments)) == whole[0]
    assert equal(file, whole[1])


def test_a_finished_run_is_only_told_again(digits, smoothed, tmp_path: Path) -> None:
    arguments = {"seed": 7, "epochs": 2, "checkpoint": tmp_path / "run"}
    first = list(train(digits, smoothed(), **arguments))
    assert list(train(digits, smoothed(), **arguments)) == first  # with the stored seconds


def test_a_killed_run_goes_on_as_if_never_killed(digits, cross_entropy, tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    script = f"""
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import CrossEntropy
from training import benchmark, train
run = train(benchmark("resnet8-digits"), CrossEntropy(), seed=7, epochs=200,
            checkpoint=Path({str(file)!r}), checkpoint_seconds=0)
for report in run:
    print(report.epoch, flush=True)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.stdout.readline() != "2\n":
            assert process.poll() is None
        process.kill()
    resumed = train(digits, cross_entropy, seed=7, epochs=200, checkpoint=file)
    known = len(read(file)[1]["reports"])
    assert known >= 3
    uninterrupted = train(digits, cross_entropy, seed=7, epochs=200)
    for _ in range(known + 1):
        assert same([next(resumed)]) == same([next(uninterrupted)])


def test_a_checkpoint_is_written_only_when_due(digits, cross_entropy, tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    run = train(digits, cross_entropy, seed=7, epochs=2, checkpoint=file, checkpoint_seconds=1e9)
    next(run)
    assert not file.exists()
    next(run)
    assert len(read(file)[1]["reports"]) == 2


def foreign_runs() -> dict[str, dict]:
    return {
        "seed": {"seed": 8},
        "epochs": {"epochs": 3},
        "protocol": {"learning_rate": 0.05},
        "values": {"smoothing": 0.2},
        "structure": {"structure": "other"},
    }


@pytest.mark.parametrize("change", foreign_runs().values(), ids=foreign_runs())
def test_a_checkpoint_of_another_run_is_ignored(digits, smoothed, tmp_path, change) -> None:
    def run(file, *, seed=7, epochs=2, learning_rate=0.1, **loss):
        entry = replace(digits, learning_rate=learning_rate)
        return train(entry, smoothed(**loss), seed=seed, epochs=epochs, checkpoint=file)

    file = tmp_path / "run.safetensors"
    stored, _ = run(file)
    assert next(run(file)) == stored  # to the last digit of its seconds
    assert next(run(file, **change)) != stored


def test_a_checkpoint_of_another_split_is_ignored(digits, smoothed, tmp_path) -> None:
    arguments = {"seed": 7, "epochs": 1, "checkpoint": tmp_path / "run"}
    list(train(digits, smoothed(), **arguments))
    (report,) = train(digits, smoothed(), data=evaluation_data(digits), **arguments)
    assert round(report.accuracy * 5.97, 6).is_integer()


def test_losses_without_structure_are_told_apart_by_their_repr(digits, smoothed, tmp_path) -> None:
    arguments = {"seed": 7, "epochs": 1, "checkpoint": tmp_path / "run"}
    (first,) = train(digits, smoothed(structure=None), **arguments)
    assert list(train(digits, smoothed(structure=None), **arguments)) == [first]


@pytest.mark.parametrize("blob", [b"", b"\x80\x04garbage" * 100])
def test_an_unreadable_checkpoint_is_ignored(digits, cross_entropy, tmp_path, blob) -> None:
    file = tmp_path / "run.safetensors"
    file.write_bytes(blob)
    (report,) = train(digits, cross_entropy, seed=7, epochs=1, checkpoint=file)
    assert report.epoch == 0
    assert len(read(file)[1]["reports"]) == 1


class Poisoned:
    """Cross-entropy until an epoch; then its value, or only its gradient, is not a number."""

    structure = None

    def __init__(self, *, epoch: int, what: str) -> None:
        self.bad_epoch = epoch
        self.what = what
        self.epoch = 0
        self.labels_by_epoch: dict[int, list[int]] = {}

    def values(self, epoch: int, total_epochs: int, num_classes: int) -> tuple[float, ...]:
        self.epoch = epoch
        return ()

    def __call__(self, logits_BK, labels_B, values_P):
        self.labels_by_epoch.setdefault(self.epoch, []).extend(labels_B.tolist())
        loss = F.cross_entropy(logits_BK, labels_B)
        if self.epoch < self.bad_epoch:
            return loss
        if self.what == "training loss":
            return loss * float("nan")
        logits_BK.register_hook(lambda gradient: gradient * float("nan"))
        return loss.nan_to_num()


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("what", ["training loss", "cross-entropy"])
def test_a_run_that_diverges_says_when(digits, epoch: int, what: str) -> None:
    run = train(digits, Poisoned(epoch=epoch, what=what), seed=7, epochs=4)
    for _ in range(epoch):
        next(run)
    with pytest.raises(Diverged) as caught:
        next(run)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value) == f"{what} is not finite in epoch {epoch}"
    assert again.epoch == caught.value.epoch == epoch


def test_reports_travel_between_processes(digits, cross_entropy) -> None:
    (report,) = train(digits, cross_entropy, seed=7, epochs=1)
    assert pickle.loads(pickle.dumps(report)) == report


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1 but got 0"),
        ({"seed": -1}, "seed must be at least 0 but got -1"),
        ({"checkpoint_seconds": -0.5}, "checkpoint_seconds must be at least 0 but got -0.5"),
        ({"device": "abacus"}, "device must be one that torch finds but got abacus"),
        ({"device": "meta"}, "data must be on the run's device meta but is on cpu"),
    ],
)
def test_an_argument_that_breaks_its_rule_is_named(digits, cross_entropy, change, message) -> None:
    arguments = {"seed": 7, "epochs": 1, "data": evaluation_data(digits)} | change
    with pytest.raises(TrainingError) as caught:
        train(digits, cross_entropy, **arguments)
    assert str(caught.value) == message


@dataclass(frozen=True)
class Scaled:
    """Cross-entropy times a factor, which counts how often it is called."""

    factor: float
    calls: list[int]
    structure: None = None

    def values(self, epoch, total_epochs, num_classes):
        return ()

    def __call__(self, logits_BK, labels_B, values_P):
        self.calls.append(len(labels_B))
        return self.factor * F.cross_entropy(logits_BK, labels_B)


@pytest.mark.parametrize("factor", [1.0, 3.0, 0.25])
def test_the_gradient_is_measured_in_units_of_cross_entropys(digits, factor: float) -> None:
    calls: list[int] = []
    reports = list(train(digits, Scaled(factor, calls), seed=1, epochs=2))
    assert [each.gradient_ratio for each in reports] == pytest.approx([factor] * 2, rel=1e-4)
    assert sum(calls) == 2 * 800  # once for each image and epoch, as ever


def test_measuring_changes_no_result(small, smoothed, whole, tmp_path: Path, monkeypatch) -> None:
    reports, checkpoint = whole
    assert all(each.gradient_ratio > 0 for each in reports)
    step = Engine.step
    unmeasured = lambda self, part, draws, *, measure: step(self, part, draws)  # noqa: E731
    monkeypatch.setattr(Engine, "step", unmeasured)
    file = tmp_path / "run.safetensors"
    plain = same(train(small, smoothed(), seed=7, epochs=EPOCHS, checkpoint=file))
    assert equal(checkpoint, file)
    assert plain == [replace(each, gradient_ratio=0.0) for each in reports]


def test_a_checkpoint_without_the_measure_is_gone_on_with(digits, cross_entropy, tmp_path) -> None:
    file = tmp_path / "run.safetensors"
    begun = train(digits, cross_entropy, seed=1, epochs=3, checkpoint=file)
    next(begun)
    begun.close()
    tensors, facts = read(file)
    del facts["reports"][0]["gradient_ratio"]
    write(file, tensors, facts)
    first, second, _ = train(digits, cross_entropy, seed=1, epochs=3, checkpoint=file)
    assert first.gradient_ratio is None
    assert second.gradient_ratio == pytest.approx(1, rel=1e-4)
