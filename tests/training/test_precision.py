from dataclasses import replace
from itertools import islice

import pytest
import torch

from training import TrainingError, train
from training.precision import PRECISIONS, arithmetic


def first(benchmark, loss, **options):
    return next(iter(islice(train(benchmark, loss, seed=1, epochs=3, **options), 1)))


def test_bf16_differs_from_fp32_by_rounding_alone(small, cross_entropy) -> None:
    small = replace(small, learning_rate=1e-3)  # at 0.1 a rounding grows until the epoch's end
    exact, rounded = (first(small, cross_entropy, precision=each) for each in ("fp32", "bf16"))
    assert exact.train_loss != rounded.train_loss
    assert rounded.train_loss == pytest.approx(exact.train_loss, rel=0.02)
    assert rounded.cross_entropy == pytest.approx(exact.cross_entropy, rel=0.05)


def test_a_cpu_trains_in_fp32_where_nothing_else_is_asked(digits, cross_entropy) -> None:
    usual, exact = (first(digits, cross_entropy, precision=each) for each in (None, "fp32"))
    assert usual.train_loss == exact.train_loss


def test_what_the_device_cannot_do_is_refused(digits, cross_entropy) -> None:
    with pytest.raises(TrainingError, match="fp32 or bf16 on cpu but got tf32"):
        train(digits, cross_entropy, seed=1, epochs=1, precision="tf32")


def test_a_checkpoint_of_another_precision_is_not_gone_on_with(
    digits, cross_entropy, tmp_path
) -> None:
    def begun(precision: str) -> list[float]:
        file = tmp_path / "run.safetensors"
        run = train(digits, cross_entropy, seed=1, epochs=2, precision=precision, checkpoint=file)
        report = next(run)
        run.close()
        return [report.train_loss]

    assert begun("fp32") == begun("fp32") != begun("bf16")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_everything_in_torch_that_asks_hears_the_same_of_a_gpu(precision) -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        arithmetic(precision, torch.device("cuda"))
        short = precision != "fp32"
        assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is short
        # What torch.compile asks, which raises where the newer names were told another thing.
        assert torch.get_float32_matmul_precision() == ("high" if short else "highest")
        assert (torch.backends.cuda.matmul.fp32_precision == "tf32") is short
        assert (torch.backends.cudnn.conv.fp32_precision == "tf32") is short
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
