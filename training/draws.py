"""The random choices of a run, made outside the step: which image, where it is cropped, how.

Shapes: B images of a batch, N of a part, C channels, H rows, W columns.
"""

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from training.data import Part


class Draws(NamedTuple):
    """The random choices for one batch: int64, shape [B] each.

    Attributes:
        image: Which one.
        top: First row of the crop, in pixels of the padded image.
        left: First column.
        flip: Whether the crop is mirrored left to right.
    """

    image: Tensor
    top: Tensor
    left: Tensor
    flip: Tensor


def derive(seed: int, purpose: str) -> int:
    """A seed for one purpose, unrelated to those for others."""
    return int.from_bytes(hashlib.sha256(f"{purpose}/{seed}".encode()).digest()[:8], "big") >> 1


def draw(part: Part, *, flip: bool, batch_size: int, generator: torch.Generator) -> list[Draws]:
    """An epoch's draws, batch by batch: each image once, the last short batch kept.

    They are made on the CPU, so that a run is the same on every device, and copied at once.
    """
    n = len(part.labels)
    draws_4N = torch.stack(
        (
            torch.randperm(n, generator=generator),
            *torch.randint(2 * part.padding + 1, (2, n), generator=generator),
            torch.randint(2 if flip else 1, (n,), generator=generator),
        )
    )
    batches = torch.split(draws_4N.to(part.labels.device), batch_size, dim=1)
    return [Draws(*batch_4B) for batch_4B in batches]


def augment(part: Part, draws: Draws) -> Tensor:
    """Crop and mirror a batch in one gather.

    Returns:
        Bytes, shape [B, H, W, C], H and W without the padding.
    """
    _, height, width, channels = part.images.shape
    rows_H = torch.arange(height - 2 * part.padding, device=draws.top.device)
    columns_W = torch.arange(width - 2 * part.padding, device=draws.top.device)
    columns_BW = torch.where(draws.flip[:, None] > 0, columns_W.flip(0), columns_W)
    y_BH = draws.top[:, None] + rows_H
    x_BW = draws.left[:, None] + columns_BW
    pixel_BHW = (draws.image[:, None] * height + y_BH)[:, :, None] * width + x_BW[:, None, :]
    pixels = part.images.flatten(0, 2).index_select(0, pixel_BHW.flatten())
    return pixels.view(*pixel_BHW.shape, channels)
