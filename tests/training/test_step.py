import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as TF

from training.data import Part
from training.models import build
from training.step import Draws, Engine, augment, draw


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_part(n: int, *, side: int = 8, channels: int = 3, padding: int = 2) -> Part:
    inner = torch.randint(256, (n, side, side, channels), dtype=torch.uint8, generator=seeded(n))
    images = torch.nn.functional.pad(inner, (0, 0, *[padding] * 4))
    return Part(images=images, labels=torch.arange(n) % 10, padding=padding)


@pytest.mark.parametrize("flip", [False, True])
def test_an_epoch_takes_each_image_once(flip: bool) -> None:
    part = a_part(1000)
    batches = draw(part, flip=flip, batch_size=64, generator=seeded(0))
    assert [len(batch.image) for batch in batches] == [64] * 15 + [40]
    every = Draws(*(torch.cat(column) for column in zip(*batches, strict=True)))
    assert torch.equal(every.image.sort().values, torch.arange(1000))
    assert every.top.unique().tolist() == every.left.unique().tolist() == [0, 1, 2, 3, 4]
    assert every.flip.unique().tolist() == ([0, 1] if flip else [0])


def test_the_generator_decides_the_draws() -> None:
    part = a_part(100)
    (first,), (again,), (other,) = (
        draw(part, flip=True, batch_size=100, generator=seeded(seed)) for seed in (0, 0, 1)
    )
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_gather_equals_cropping_and_flipping_each_image(channels: int) -> None:
    part = a_part(50, channels=channels)
    (draws,) = draw(part, flip=True, batch_size=50, generator=seeded(0))
    batch = augment(part, draws)
    for ours, index, top, left, flip in zip(batch, *draws, strict=True):
        image = Image.fromarray(part.images[index].numpy().squeeze())
        expected = TF.crop(image, int(top), int(left), 8, 8)
        expected = TF.hflip(expected) if flip else expected
        assert np.array_equal(ours.numpy().squeeze(), np.asarray(expected))


@pytest.fixture
def engine(digits, smoothed) -> Engine:
    return Engine(digits, build(digits, seeded(0)), smoothed(), torch.device("cpu"))


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
