"""MobileNetV2 for small images.

Shapes: B images, C channels, H rows, W columns, K classes.
"""

from torch import Tensor, nn

# Expansion, channels at width 32, and stride of each stage. The second stage's stride is 1
# (as is the stem's), not the paper's 2: the images are 32 pixels wide, not 224.
STAGES = (
    (1, 16, 1),
    (6, 24, 1),
    (6, 32, 2),
    (6, 64, 2),
    (6, 96, 1),
    (6, 160, 2),
    (6, 320, 1),
)


def convolution(
    in_channels: int, channels: int, size: int, *, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A convolution that keeps the side (over the stride), BatchNorm and ReLU6."""
    return [
        nn.Conv2d(in_channels, channels, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(inplace=True),
    ]


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project; a shortcut where the shape stays."""

    def __init__(self, in_channels: int, channels: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.layers = nn.Sequential(
            *(convolution(in_channels, hidden, 1) if expansion > 1 else []),
            *convolution(hidden, hidden, 3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.has_shortcut = stride == 1 and in_channels == channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW: Tensor = self.layers(x_BCHW)
        return x_BCHW + y_BCHW if self.has_shortcut else y_BCHW


class MobileNetV2(nn.Module):
    """Seven stages of inverted residuals between a 3x3 stem and a 1x1 convolution.

    References:
        Sandler et al., 2018, table 2. arXiv:1801.04381
    """

    def __init__(
        self, *, blocks: tuple[int, ...], width: int, in_channels: int, num_classes: int
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(*convolution(in_channels, width, 3))
        channels = width
        for count, (expansion, wide, first_stride) in zip(blocks, STAGES, strict=True):
            for block in range(count):
                stride = first_stride if block == 0 else 1
                out = wide * width // 32
                self.body.append(
                    InvertedResidual(channels, out, expansion=expansion, stride=stride)
                )
                channels = out
        self.body.extend(convolution(channels, 40 * width, 1))
        self.head = nn.Linear(40 * width, num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.head(self.body(images_BCHW).mean((2, 3)))
        return logits_BK
