"""The benchmarks: one architecture, one data set and one training protocol each.

This module imports no torch, so that the command line can list the benchmarks at once.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from math import inf
from typing import Any

ARCHITECTURES = ("resnet", "vgg", "mobilenet")
DATA_SETS = ("digits", "cifar10", "cifar100", "fashion_mnist")

# Raised whenever the same protocol gives other results: new draws, splits or initial weights.
ENGINE = 3


class BenchmarkError(ValueError):
    """An unknown benchmark, or a protocol that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A fixed architecture, data set and training protocol.

    Attributes:
        name: What users call it.
        architecture: One of `ARCHITECTURES`, or the import path "package.module:build" of a
            function from the number of classes to a network.
        data: The data set's name: one of `DATA_SETS`, or that of a packed one.
        num_classes: Classes of the data set.
        mean: Mean of each input channel, pixels in [0, 1]. One-channel images are repeated to
            as many channels as there are means.
        std: Standard deviation of each input channel, pixels in [0, 1].
        blocks: Blocks in each stage: residual blocks (resnet), convolutions (vgg), or inverted
            residuals (mobilenet). None for an architecture of the user's own.
        width: Output channels of the first convolution; all others follow from it.
        resize: Side in pixels that images are resized to, or None to leave them as they are.
        crop_padding: Pixels of zeros on each side before the random crop.
        flip: Whether half of the training images are mirrored left to right.
        epochs: Epochs of a full run.
        batch_size: Images in a step; the last, short batch is kept.
        learning_rate: Of SGD in the first epoch; follows a cosine to 0 over the run's epochs.
        momentum: Of SGD.
        weight_decay: Of SGD, on all parameters.
        hidden: Whether search must not train on it: evaluations only.
        cpu_threads: The most CPU threads that pay, or None for all: the tiny layers of a small
            network take as long on two threads, and much longer where a thread must wait.
        data_digest: Of the images, where the data set is the user's own; see `training.custom`.
        code_digest: Of the architecture, where it is the user's own.
        modules: The folder of the architecture's module, where it is not installed.
    """

    name: str
    architecture: str
    data: str
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    blocks: tuple[int, ...] = ()
    width: int = 0
    resize: int | None = None
    crop_padding: int = 4
    flip: bool = True
    epochs: int = 200
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    hidden: bool = False
    cpu_threads: int | None = None
    data_digest: str | None = None
    code_digest: str | None = None
    modules: str | None = None

    def __post_init__(self) -> None:
        own = self.has_own_architecture
        rules = {
            "architecture": (
                self.architecture in ARCHITECTURES or own,
                f"one of {', '.join(ARCHITECTURES)}, or an import path 'package.module:build'",
            ),
            "blocks": (
                not self.blocks if own else self.blocks and min(self.blocks) >= 1,
                "left out for an import path" if own else "at least 1 in each stage",
            ),
            # Below 8 channels, torch's CPU kernel for a strided 1x1 convolution in channels-last
            # order writes past its buffers (seen with torch 2.14).
            "width": (
                not self.width if own else self.width >= 8,
                "left out for an import path" if own else "at least 8",
            ),
            "data": (re.fullmatch(r"[\w-]+", self.data), "of letters, digits, - and _"),
            "num_classes": (self.num_classes >= 2, "at least 2"),
            "mean": (len(self.mean) in (1, 3), "given for 1 or 3 channels"),
            "std": (
                len(self.std) == len(self.mean) and min(self.std) > 0,
                "above 0 and as many as the means",
            ),
            "resize": (self.resize is None or self.resize >= 1, "at least 1 or None"),
            "crop_padding": (self.crop_padding >= 0, "at least 0"),
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "learning_rate": (0 < self.learning_rate < inf, "above 0 and finite"),
            "momentum": (0 <= self.momentum < 1, "at least 0 and below 1"),
            "cpu_threads": (
                self.cpu_threads is None or self.cpu_threads >= 1,
                "at least 1 or None",
            ),
            "weight_decay": (0 <= self.weight_decay < inf, "at least 0 and finite"),
        }
        for field, (holds, rule) in rules.items():
            if not holds:
                raise BenchmarkError(f"{field} must be {rule} but got {getattr(self, field)!r}")

    @property
    def has_own_architecture(self) -> bool:
        """Whether the network is built by code of the user's."""
        return re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", self.architecture) is not None

    @property
    def protocol(self) -> dict[str, Any]:
        """Everything that a result depends on, by name: JSON values in the fields' order."""
        fields = asdict(self)
        # Who sees it, how fast, and where its code lies: not what comes of it.
        for field in ("hidden", "cpu_threads", "modules"):
            del fields[field]
        return fields | {"engine": ENGINE}

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits of the protocol: results of different digests never mix."""
        return sha256(json.dumps(self.protocol, sort_keys=True).encode()).hexdigest()[:12]


def benchmarks() -> dict[str, Benchmark]:
    """All benchmarks by name, the smallest first."""
    resnet56 = Benchmark(
        name="resnet56-cifar100",
        architecture="resnet",
        blocks=(9, 9, 9),
        width=16,
        data="cifar100",
        num_classes=100,
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
    )
    table = (
        Benchmark(
            name="resnet8-digits",
            architecture="resnet",
            blocks=(1, 1, 1),
            width=8,
            data="digits",
            num_classes=10,
            mean=(0.3053,),
            std=(0.3759,),
            crop_padding=1,
            flip=False,  # a mirrored digit is another digit, or none
            epochs=15,
            batch_size=64,
            cpu_threads=1,
        ),
        Benchmark(
            name="resnet20-cifar10",
            architecture="resnet",
            blocks=(3, 3, 3),
            width=16,
            data="cifar10",
            num_classes=10,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
        ),
        resnet56,
        replace(
            resnet56,
            name="vgg16bn-cifar100",
            architecture="vgg",
            blocks=(2, 2, 3, 3, 3),
            width=64,
        ),
        Benchmark(
            name="mobilenetv2-fmnist",
            architecture="mobilenet",
            blocks=(1, 2, 3, 4, 3, 3, 1),
            width=32,
            data="fashion_mnist",
            num_classes=10,
            mean=(0.2860,) * 3,
            std=(0.3530,) * 3,
            resize=32,
            hidden=True,
        ),
    )
    return {entry.name: entry for entry in table}


def benchmark(name: str, own: Iterable[Benchmark] = ()) -> Benchmark:
    """The benchmark of this name, among the user's own and these.

    Raises:
        BenchmarkError: There is none; the message lists those that there are.
    """
    table = {entry.name: entry for entry in own} | benchmarks()
    if name not in table:
        raise BenchmarkError(f"unknown benchmark {name!r}: choose one of {', '.join(table)}")
    return table[name]
