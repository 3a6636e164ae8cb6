"""One optimisation step, in pieces that can be recorded: the network, the loss, the network again.

Shapes: B images of a batch, H rows, W columns, C channels, K classes, P parameters of the loss.
"""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from training.data import Part
from training.draws import Draws, augment

if TYPE_CHECKING:
    from training.engine import Engine


class Loss(Protocol):
    """What a loss must offer to be trained with."""

    @property
    def structure(self) -> Hashable | None:
        """A key: losses of equal structure compute the same given the same values.

        Its repr must be the same in every process. None if the loss keeps state of its own (the
        epoch, say) or branches on it: such a loss is never captured in a graph, and is told from
        others by its own repr.
        """

    def values(self, epoch: int, total_epochs: int, num_classes: int) -> tuple[float, ...]:
        """The P parameters during an epoch, asked for when it begins; P never changes."""

    def __call__(self, logits_BK: Tensor, labels_B: Tensor, values_P: Tensor) -> Tensor:
        """The loss of each example, shape [B], or a scalar: the engine takes the mean."""


class Step:
    """The step on batches of one size out of one part.

    Whatever goes from piece to piece, and whatever comes from outside, lies in tensors that stay
    where they are, so that a recorded piece finds it. The loss is a piece of its own: losses of
    every structure share the network's two, and one that must not be recorded runs between them.

    Args:
        engine: What is trained.
        part: Where the images are.
        size: B.
    """

    def __init__(self, engine: "Engine", part: Part, size: int) -> None:
        self.engine = engine
        self.part = part
        device = part.labels.device
        self.draws_4B = torch.zeros((4, size), dtype=torch.int64, device=device)
        self.labels_B = torch.zeros(size, dtype=torch.int64, device=device)
        self.logits_BK = self.gradient_BK = torch.empty(0, device=device)

    def forward(self) -> None:
        """From the draws to the logits."""
        draws = Draws(*self.draws_4B)
        self.labels_B.copy_(self.part.labels[draws.image])
        self.logits_BK = self.engine.network(augment(self.part, draws))
        if self.gradient_BK.shape != self.logits_BK.shape:
            self.gradient_BK = torch.zeros_like(self.logits_BK)

    def judge(self, *, measure: bool) -> None:
        """From the logits to the loss and its gradient by them."""
        engine = self.engine
        logits_BK = self.logits_BK.detach().requires_grad_()
        loss = engine.loss(logits_BK, self.labels_B, engine.values_P).mean()
        (gradient_BK,) = torch.autograd.grad(loss, [logits_BK])
        self.gradient_BK.copy_(gradient_BK)
        engine.loss_sum += loss.detach() * len(logits_BK)
        if measure:
            ratio = gradient_ratio(self.gradient_BK, logits_BK.detach(), self.labels_B)
            engine.gradient_ratio.copy_(ratio)

    def backward(self) -> None:
        """From that gradient to the weights, which move."""
        parameters = self.engine.parameters
        self.engine.descend(torch.autograd.grad(self.logits_BK, parameters, self.gradient_BK))


def gradient_ratio(gradient_BK: Tensor, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """How long a batch's gradient by the logits is, in units of plain cross-entropy's there."""
    plain_BK = logits_BK.softmax(1)
    plain_BK.scatter_add_(1, labels_B[:, None], torch.full_like(plain_BK[:, :1], -1))
    ratio: Tensor = gradient_BK.norm() * len(labels_B) / plain_BK.norm()
    return ratio
