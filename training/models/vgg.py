"""VGG with BatchNorm for small images.

Shapes: B images, C channels, H rows, W columns, D features, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Module):
    """Dropout whose draws come from a generator of the run's own.

    torch's dropout draws from the global generator, so that a result would depend on whatever
    else ran in the process.

    Attributes:
        generator: On the device of the features; must be set before training.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.keep = 1 - rate
        self.generator: torch.Generator | None = None

    def forward(self, features_BD: Tensor) -> Tensor:
        if not self.training:
            return features_BD
        if self.generator is None:
            raise RuntimeError("Dropout has no generator: set one before training")
        kept_BD = torch.empty_like(features_BD).bernoulli_(self.keep, generator=self.generator)
        return features_BD * kept_BD / self.keep


class VGG(nn.Module):
    """Stages of 3x3 convolutions, each ended by max pooling; a head of two linear layers.

    References:
        Simonyan and Zisserman, 2015, configuration D, with BatchNorm. arXiv:1409.1556
    """

    def __init__(
        self, *, blocks: tuple[int, ...], width: int, in_channels: int, num_classes: int
    ) -> None:
        super().__init__()
        self.body = nn.Sequential()
        channels = in_channels
        for stage, count in enumerate(blocks):
            stage_channels = width * min(2**stage, 8)
            for _ in range(count):
                self.body.append(nn.Conv2d(channels, stage_channels, 3, padding=1, bias=False))
                self.body.append(nn.BatchNorm2d(stage_channels))
                self.body.append(nn.ReLU(inplace=True))
                channels = stage_channels
            self.body.append(nn.MaxPool2d(2))
        self.hidden = nn.Linear(channels, channels)
        self.dropout = Dropout(0.5)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features_BD = self.body(images_BCHW).mean((2, 3))
        logits_BK: Tensor = self.head(self.dropout(F.relu(self.hidden(features_BD))))
        return logits_BK
