"""The arithmetic of the network: what users call it, and how torch is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "tf32", "bf16"]

PRECISIONS = get_args(Precision)


def usual(device: str) -> Precision:
    """What a type of device computes in where nobody asks for another precision.

    References:
        studies/results/precision.md, for what bf16 changes.
    """
    return "bf16" if device == "cuda" else "fp32"


def arithmetic(precision: Precision, device: torch.device) -> None:
    """Set what torch keeps for a whole process: whether a GPU may shorten float32 products.

    Left alone, torch shortens them in convolutions and not in matrix products.
    """
    import torch

    if device.type == "cuda":
        # Not by the newer `fp32_precision`: torch's own compiler reads these, and fails where
        # the two disagree (seen with torch 2.14).
        torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
        torch.backends.cudnn.allow_tf32 = precision != "fp32"
