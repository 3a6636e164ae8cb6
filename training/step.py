"""One optimisation step of one network, and its score.

Shapes: B images of a batch, N of a part, C channels, H rows, W columns, K classes, P parameters
of the loss.
"""

import hashlib
from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from training.benchmarks import Benchmark
from training.data import Part

SCORING_BATCH = 500


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


class Draws(NamedTuple):
    """The random choices for one batch, made on the CPU: int64, shape [B] each.

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
    """An epoch's draws, batch by batch: each image once, the last short batch kept."""
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


def gradient_ratio(gradient_BK: Tensor, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """How long a batch's gradient by the logits is, in units of plain cross-entropy's there."""
    plain_BK = logits_BK.softmax(1)
    plain_BK[torch.arange(len(labels_B), device=labels_B.device), labels_B] -= 1
    ratio: Tensor = gradient_BK.norm() * len(labels_B) / plain_BK.norm()
    return ratio


class Engine:
    """A network in training: weights, momentum, and the step that moves them.

    Everything that changes during a run is a tensor that changes in place.
    """

    def __init__(
        self, benchmark: Benchmark, model: nn.Module, loss: Loss, device: torch.device
    ) -> None:
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = loss
        self.values_P = torch.empty(0, device=device)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.gradient_ratio = torch.zeros((), dtype=torch.float64, device=device)
        self.mean_C = torch.tensor(benchmark.mean, device=device)
        self.std_C = torch.tensor(benchmark.std, device=device)
        self.learning_rate = benchmark.learning_rate
        self.momentum = benchmark.momentum
        self.weight_decay = benchmark.weight_decay
        trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.names, self.parameters = list(trained), list(trained.values())
        self.buffers = [torch.zeros_like(each) for each in self.parameters]

    def start_epoch(self, *, learning_rate: float, values: tuple[float, ...]) -> None:
        """Refresh what is fixed during an epoch, and forget the last epoch's losses."""
        self.model.train()
        self.loss_sum.zero_()
        self.learning_rate = learning_rate
        if len(values) != len(self.values_P):
            self.values_P = self.values_P.new_empty(len(values))
        self.values_P.copy_(torch.tensor(values))

    def step(self, part: Part, draws: Draws, *, measure: bool = False) -> None:
        """Train on one batch, and add its losses to `loss_sum`.

        Measuring sets `gradient_ratio` and changes nothing else: the gradient that it needs
        comes by on its way to the weights.
        """
        logits_BK = self.model(self.normalise(augment(part, draws)))
        labels_B = part.labels[draws.image]
        loss = self.loss(logits_BK, labels_B, self.values_P).mean()
        gradient_BK, *gradients = torch.autograd.grad(loss, [logits_BK, *self.parameters])
        if measure:
            self.gradient_ratio.copy_(gradient_ratio(gradient_BK, logits_BK.detach(), labels_B))
        self._descend(gradients)
        self.loss_sum += loss.detach() * len(logits_BK)

    @torch.no_grad()
    def _descend(self, gradients: Sequence[Tensor]) -> None:
        # The optimiser class would do the same, but imports the compiler to be made: seconds
        # and 190 MB in every process.
        sgd(
            self.parameters,
            list(gradients),
            self.buffers,  # type: ignore[arg-type]
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.learning_rate,
            dampening=0,
            nesterov=False,
            maximize=False,
            fused=True,
        )

    @torch.no_grad()
    def logits(self, part: Part) -> Tensor:
        """The logits of every image of a part, without augmentation: [N, K]."""
        self.model.eval()
        batches = torch.split(part.images, SCORING_BATCH)
        return torch.cat([self.model(self.normalise(images_BHWC)) for images_BHWC in batches])

    def normalise(self, images_BHWC: Tensor) -> Tensor:
        """Bytes [B, H, W, C] to floats [B, C, H, W] in channels-last order."""
        floats_BHWC = (
            images_BHWC.to(self.mean_C.dtype).div_(255).sub_(self.mean_C).div_(self.std_C)
        )
        return floats_BHWC.permute(0, 3, 1, 2)

    def state(self) -> dict[str, Tensor]:
        """Weights, running statistics and momentum by name: the tensors themselves."""
        momentum = {
            f"momentum.{name}": buffer
            for name, buffer in zip(self.names, self.buffers, strict=True)
        }
        return {**self.model.state_dict(), **momentum}
