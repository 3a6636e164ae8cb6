import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as TF

from training.data import Part
from training.draws import Draws, augment, draw


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
