from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch
from torchvision.transforms import functional as TF

from tests.training.test_draws import a_part, seeded
from training import engine as engines
from training import train
from training.data import Part
from training.draws import augment, draw
from training.engine import Engine, borrowed
from training.models import build


@pytest.fixture
def engine(digits, smoothed) -> Engine:
    model = build(digits, seeded(0))
    engine = Engine(digits, model, torch.device("cpu"))
    engine.begin(smoothed(), model.state_dict())
    return engine


def test_normalising_equals_torchvision(engine) -> None:
    images = a_part(5, channels=1).images
    floats_BCHW = engine.normalise(images)
    assert floats_BCHW.is_contiguous(memory_format=torch.channels_last)
    for ours, image in zip(floats_BCHW, images, strict=True):
        expected = TF.normalize(TF.to_tensor(image.numpy()), [0.3053], [0.3759])
        assert torch.equal(ours, expected)


def test_a_step_is_momentum_sgd_on_the_mean_loss(digits, smoothed, engine) -> None:
    part = a_part(16, channels=1)
    part = Part(images=part.images, labels=part.labels, padding=2)
    (draws,) = draw(part, flip=False, batch_size=16, generator=seeded(1))
    model = build(digits, seeded(0)).train()
    momenta = [torch.zeros_like(p) for p in model.parameters()]
    for learning_rate, smoothing in ((0.1, 0.2), (0.05, 0.0)):
        engine.start_epoch(learning_rate=learning_rate, values=(smoothing, 10.0))
        engine.step(part, draws)
        logits_BK = model(engine.normalise(augment(part, draws)))
        loss = torch.nn.functional.cross_entropy(
            logits_BK, part.labels[draws.image], label_smoothing=smoothing
        )
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for weight, gradient, momentum in zip(
                model.parameters(), gradients, momenta, strict=True
            ):
                momentum.mul_(0.9).add_(gradient + 5e-4 * weight)
                weight -= learning_rate * momentum
        assert engine.loss_sum.item() / 16 == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(engine.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_loss_parameters_are_one_tensor_that_changes_in_place(engine) -> None:
    engine.start_epoch(learning_rate=0.1, values=(0.5, 10.0))
    values_P = engine.values_P
    engine.start_epoch(learning_rate=0.1, values=(0.25, 10.0))
    assert engine.values_P is values_P
    assert values_P.tolist() == [0.25, 10.0]


def test_scoring_changes_nothing_and_needs_no_batches_of_a_size(engine) -> None:
    part = a_part(1203, channels=1, padding=0)
    before = {name: tensor.clone() for name, tensor in engine.state().items()}
    logits_NK = engine.logits(part)
    assert all(torch.equal(before[name], tensor) for name, tensor in engine.state().items())
    expected = engine.model(engine.normalise(part.images))
    torch.testing.assert_close(logits_NK, expected, rtol=1e-4, atol=1e-5)


def test_weights_are_scored_in_float32_whatever_they_are_trained_in(digits) -> None:
    part = a_part(50, channels=1, padding=0)
    exact, rounded = (
        Engine(digits, build(digits, seeded(0)), torch.device("cpu"), precision=precision)
        for precision in ("fp32", "bf16")
    )
    assert torch.equal(rounded.logits(part), exact.logits(part))
    assert not torch.equal(rounded.network(part.images), exact.network(part.images))


def taken(stack: ExitStack, benchmark, **options) -> Engine:
    model = build(benchmark, seeded(0))
    options = {"precision": "fp32", "fuse": False} | options
    return stack.enter_context(borrowed(benchmark, model, torch.device("cpu"), **options))


@pytest.fixture
def none_waits(monkeypatch) -> None:
    monkeypatch.setattr(engines, "_waiting", [])


@pytest.mark.usefixtures("none_waits")
def test_an_engine_is_used_again_by_the_next_run_and_by_none_beside_it(digits) -> None:
    with ExitStack() as stack:
        first, beside = taken(stack, digits), taken(stack, digits)
        assert first is not beside
    with ExitStack() as stack:
        again = taken(stack, digits)
        assert again in (first, beside)
        assert taken(stack, replace(digits, momentum=0.5)) not in (first, beside)
        assert taken(stack, digits, precision="bf16") not in (first, beside)


@pytest.mark.usefixtures("none_waits")
def test_only_so_many_engines_wait(digits) -> None:
    with ExitStack() as stack:
        for _ in range(engines.KEPT + 2):
            taken(stack, digits)
    assert len(engines._waiting) == engines.KEPT


@pytest.mark.usefixtures("none_waits")
def test_a_run_on_a_used_engine_is_the_same_bit_for_bit(small, smoothed, cross_entropy) -> None:
    def run(loss, seed: int) -> list[float]:
        return [report.train_loss for report in train(small, loss, seed=seed, epochs=2)]

    fresh = run(smoothed(), 1)
    other = run(cross_entropy, 2)
    assert run(smoothed(), 1) == fresh != other
    assert len(engines._waiting) == 1


@pytest.mark.usefixtures("none_waits")
def test_a_run_that_is_given_up_leaves_nothing_behind(digits, smoothed) -> None:
    given_up = train(digits, smoothed(), seed=1, epochs=3)
    next(given_up)
    given_up.close()
    ((_, engine),) = engines._waiting
    engine.begin(smoothed(), build(digits, seeded(0)).state_dict())
    assert not any(each.any() for each in engine.buffers)
    initial = build(digits, seeded(0)).state_dict()
    assert all(torch.equal(initial[name], engine.state()[name]) for name in initial)
