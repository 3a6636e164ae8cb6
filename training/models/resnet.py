"""Residual networks for small images.

Shapes: B images, C channels, H rows, W columns, K classes.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            self.shortcut.append(nn.Conv2d(in_channels, channels, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = F.relu(self.norm1(self.conv1(x_BCHW)), inplace=True)
        y_BCHW = self.norm2(self.conv2(y_BCHW))
        y_BCHW += self.shortcut(x_BCHW)
        return F.relu(y_BCHW, inplace=True)


class ResNet(nn.Module):
    """A 3x3 stem, then stages: each after the first halves the side and doubles the channels.

    References:
        He et al., 2016, section 4.2 (with projection shortcuts, option B). arXiv:1512.03385
    """

    def __init__(
        self, *, blocks: tuple[int, ...], width: int, in_channels: int, num_classes: int
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Sequential()
        channels = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                self.body.append(BasicBlock(channels, width * 2**stage, stride))
                channels = width * 2**stage
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features_BCHW = self.body(F.relu(self.norm(self.stem(images_BCHW)), inplace=True))
        logits_BK: Tensor = self.head(features_BCHW.mean((2, 3)))
        return logits_BK
