"""The networks: built from a benchmark, initialised from a generator or by their own code."""

import math

import torch
from torch import nn

from training.benchmarks import Benchmark
from training.models import own
from training.models.mobilenet import MobileNetV2
from training.models.resnet import ResNet
from training.models.vgg import VGG


def build(benchmark: Benchmark, generator: torch.Generator) -> nn.Module:
    """The benchmark's network on the CPU, with initial weights that only the generator decides.

    Returns:
        A network from images [B, C, H, W] to logits [B, K].

    Raises:
        BenchmarkError: The architecture is the user's own, and broken.
    """
    if benchmark.has_own_architecture:
        return own.build(benchmark, generator.initial_seed())
    architecture = {"resnet": ResNet, "vgg": VGG, "mobilenet": MobileNetV2}[benchmark.architecture]
    with torch.device("meta"):  # torch's own initialisation would draw from the global generator
        model = architecture(
            blocks=benchmark.blocks,
            width=benchmark.width,
            in_channels=len(benchmark.mean),
            num_classes=benchmark.num_classes,
        )
    model.to_empty(device="cpu")
    initialise(model, generator)
    return model


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Set every weight and running statistic in place, in the modules' order.

    Convolutions are Kaiming-normal (fan out, ReLU), BatchNorm is 1 and 0, and linear layers are
    uniform in +-1/sqrt(fan in), as torch has them by default.

    References:
        He et al., 2015. arXiv:1502.01852
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            # Only a cumulative average reads this counter, and it costs a kernel a layer a step.
            module.num_batches_tracked = None
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
