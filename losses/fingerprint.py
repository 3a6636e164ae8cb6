"""A loss as its gradients on a fixed batch: is it another one but for a factor?

Shapes: B examples of a batch, K classes, G coordinates of a glance, N other losses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.spec import LossSpec, progress

Batch = tuple[Tensor, Tensor]
"""Logits [B, K] and labels [B]."""

SEED = 0
CLASSES = (10, 100)
ROWS = 256
DEVIATIONS = (0.1, 1.0, 4.0, 1.0)
LIFT, LIFTED = 6.0, round(0.9 * ROWS)
"""What is added to the label's logit in the last block, and in how many of its rows."""

SAMPLE = 16
"""Every so many rows of the fixed batch stand for it where few will do."""

SAME = 1e-6
"""1 - cosine of two fingerprints below which one loss is the other but for a factor."""

ALIKE = 100 * SAME
"""1 - cosine of two glances below which the whole fingerprints are compared."""


class Likeness(NamedTuple):
    """How two fingerprints stand to each other: 1 - cosine, and the ratio of their norms."""

    distance: float
    factor: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Fingerprint:
    """A loss, and what it takes to see whether it is another one but for a factor.

    The fingerprint itself, the gradients on the fixed batch at every epoch, has a hundred thousand
    coordinates an epoch. What is kept is a glance at it: a few rows of few classes, in the first
    epoch and in the last. Only where two glances are alike is the whole computed.

    Attributes:
        name: What a reason calls the loss.
        epochs: Length of the training that is to come.
        glance_G: A part of the gradients, scaled to norm 1; nan where one of them is.
    """

    name: str
    spec: LossSpec
    epochs: int
    glance_G: Tensor

    @classmethod
    def of(cls, name: str, spec: LossSpec, *, epochs: int) -> Fingerprint:
        """Take a loss's fingerprint."""
        sample = sampled(fixed_batch(CLASSES[0]))
        ends = [gradient(spec, sample, progress(epoch, epochs)) for epoch in (0, epochs - 1)]
        glance_G = F.normalize(torch.cat(ends).flatten(), dim=0).float()
        return cls(name=name, spec=spec, epochs=epochs, glance_G=glance_G)

    def twin(self, others: Sequence[Fingerprint]) -> tuple[Fingerprint, Likeness] | None:
        """Return the first of other losses that is this one but for a factor, if one is."""
        if not others:
            return None
        distance_N = 1 - torch.stack([other.glance_G for other in others]) @ self.glance_G
        for index in (distance_N < ALIKE).nonzero().flatten().tolist():
            likeness = self.likeness(others[index])
            if likeness.distance < SAME:
                return others[index], likeness
        return None

    def likeness(self, other: Fingerprint) -> Likeness:
        """Compare the whole fingerprints, over this one's epochs."""
        mine = theirs = product = 0.0
        for epoch, count in stages(self.spec, other.spec, epochs=self.epochs):
            for num_classes in CLASSES:
                batch, at = fixed_batch(num_classes), progress(epoch, self.epochs)
                mine_BK, theirs_BK = (gradient(each.spec, batch, at) for each in (self, other))
                mine += count * float(mine_BK.square().sum())
                theirs += count * float(theirs_BK.square().sum())
                product += count * float((mine_BK * theirs_BK).sum())
        if not mine * theirs:  # nothing is like a loss that asks for nothing
            return Likeness(1.0, 0.0)
        cosine = min(1.0, product / (mine * theirs) ** 0.5)
        return Likeness(1 - cosine, (mine / theirs) ** 0.5)


def stages(*specs: LossSpec, epochs: int) -> list[tuple[int, int]]:
    """Return an epoch for each set of values that losses have, and how many epochs share it."""
    values = [
        tuple(spec.values(epoch, epochs, CLASSES[-1]) for spec in specs) for epoch in range(epochs)
    ]
    return [(values.index(each), count) for each, count in Counter(values).items()]


def gradient(spec: LossSpec, batch: Batch, at: float) -> Tensor:
    """Return the gradient of the summed losses by the logits, at a progress; shape [B, K]."""
    logits_BK, labels_B = batch
    logits_BK = logits_BK.detach().requires_grad_()
    loss_B = spec.per_example(logits_BK, labels_B, progress=at)
    return torch.autograd.grad(loss_B.sum(), logits_BK)[0]


@cache
def fixed_batch(num_classes: int) -> Batch:
    """Return four blocks of float64 logits over the same labels, one after another.

    Three are normal and know nothing of the labels; the fourth is right about most of them.
    """
    generator = torch.Generator().manual_seed(SEED)
    labels_B = torch.randint(num_classes, (ROWS,), generator=generator)
    shape = (len(DEVIATIONS), ROWS, num_classes)
    blocks = torch.randn(shape, dtype=torch.float64, generator=generator)
    blocks *= torch.tensor(DEVIATIONS, dtype=torch.float64)[:, None, None]
    blocks[-1, range(LIFTED), labels_B[:LIFTED]] += LIFT
    return blocks.flatten(0, 1), labels_B.repeat(len(DEVIATIONS))


def unit_block(num_classes: int) -> Batch:
    """Return the block of the fixed batch whose logits are standard normal."""
    logits_BK, labels_B = fixed_batch(num_classes)
    rows = slice(ROWS, 2 * ROWS)
    return logits_BK[rows], labels_B[rows]


def sampled(batch: Batch) -> Batch:
    """Return a few rows of a batch."""
    return batch[0][::SAMPLE], batch[1][::SAMPLE]
