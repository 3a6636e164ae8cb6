"""What a network's logits are worth: accuracy, plain cross-entropy, calibration.

Shapes: N images of a part, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 15


def accuracy(logits_NK: Tensor, labels_N: Tensor) -> Tensor:
    """Share of images whose label has the highest logit, in %."""
    return 100 * (logits_NK.argmax(1) == labels_N).double().mean()


def cross_entropy(logits_NK: Tensor, labels_N: Tensor) -> Tensor:
    """Plain cross-entropy, mean in nats."""
    return F.cross_entropy(logits_NK.double(), labels_N)


def calibration_error(logits_NK: Tensor, labels_N: Tensor) -> Tensor:
    """Expected calibration error over 15 bins of equal width, in percentage points.

    The mean over images of how far the accuracy of a bin lies from its mean confidence.

    References:
        Guo et al., 2017. arXiv:1706.04599
    """
    confidence_N, predicted_N = logits_NK.double().softmax(1).max(1)
    bin_N = (confidence_N * BINS).ceil().long().clamp(1, BINS) - 1
    excess_N = (predicted_N == labels_N).double() - confidence_N
    excess_per_bin = torch.zeros(BINS, dtype=excess_N.dtype, device=excess_N.device)
    return 100 * excess_per_bin.index_add(0, bin_N, excess_N).abs().sum() / len(labels_N)
