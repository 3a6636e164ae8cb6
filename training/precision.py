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
        # Not by the newer `fp32_precision`: torch's own compiler reads these, and fails where
        # the two disagree (seen with torch 2.14).
        torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
        torch.backends.cudnn.allow_tf32 = precision != "fp32"
