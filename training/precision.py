"""The arithmetic of the network: what users call it, and how torch is told."""

from typing import Literal, get_args

import torch

Precision = Literal["fp32", "tf32", "bf16"]

PRECISIONS = get_args(Precision)


def arithmetic(precision: Precision, device: torch.device) -> None:
    """Set what torch keeps for a whole process: whether a GPU may shorten float32 products.

    Left alone, torch shortens them in convolutions and not in matrix products.
    """
    if device.type == "cuda":
        short = "ieee" if precision == "fp32" else "tf32"
        torch.backends.cuda.matmul.fp32_precision = short
        torch.backends.cudnn.conv.fp32_precision = short  # type: ignore[attr-defined]
