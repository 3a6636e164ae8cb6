"""Losses that are robust to wrong labels, per example.

As in `losses.functional`: shapes B examples and K classes; a parameter is a float or a 0-d tensor
whose value may change while a CUDA graph is replayed; None leaves its term out. Each function
takes logits of any floating type and integer labels in [0, K), works in float32 or wider, and
returns the loss of each example, shape [B].
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.functional import TINY, Scalar, log_miss, of_label, surprise, widened

ITERATIONS = 5
"""Steps towards the norm of the tempered softmax, as many as its authors take."""


def tempered(
    logits_BK: Tensor, labels_B: Tensor, *, t1: Scalar | None = None, t2: Scalar | None = None
) -> Tensor:
    """Bi-tempered logistic loss: bounded where t1 < 1, and heavy-tailed where t2 > 1.

        loss = -log_t1(p_y) - (1 - sum_k p_k^(2 - t1)) / (2 - t1),  p = softmax_t2(z)
        log_t(p) = (p^(1 - t) - 1) / (1 - t)

    The Bregman divergence between the label's one-hot vector and p; cross-entropy at t1 = t2 = 1.

    Args:
        logits_BK: Logits z.
        labels_B: Labels y.
        t1: Temperature of the logarithm, in [0, 1].
        t2: Temperature of the softmax, at least 1.

    References:
        Amid et al., 2019. arXiv:1906.03361. Checked against the paper's gradient and a softmax
        normalised by root finding; the authors' code (google/bi-tempered-loss) is the same where
        five steps are enough.
    """
    log_p_BK = log_tempered_softmax(widened(logits_BK), t2)
    if t1 is None:
        return -of_label(log_p_BK, labels_B)
    power_sum_B = ((2 - t1) * log_p_BK).exp().sum(dim=1)
    return of_label(surprise(log_p_BK, 1 - t1), labels_B) - (1 - power_sum_B) / (2 - t1)


def log_tempered_softmax(z_BK: Tensor, t2: Scalar | None) -> Tensor:
    """Return ln p of the tempered softmax, p_k = exp_t2(z_k - A) with A such that they sum to 1.

    exp_t(a) = (1 + (1 - t) a)^(1 / (1 - t)), and Z = sum_k exp_t2((z_k - max z) Z^(1 - t2)) is
    found by iteration. Where t2 and K are large it has not settled after five steps; the last
    division makes p sum to 1 all the same.
    """
    if t2 is None:
        return F.log_softmax(z_BK, dim=1)
    excess = t2 - 1 + TINY  # a schedule may pass through 1
    below_BK = z_BK - z_BK.amax(dim=1, keepdim=True)
    log_exp_BK = -torch.log1p(-excess * below_BK) / excess
    for _ in range(ITERATIONS):
        shrunk_BK = below_BK * (-excess * log_exp_BK.logsumexp(dim=1, keepdim=True)).exp()
        log_exp_BK = -torch.log1p(-excess * shrunk_BK) / excess
    return F.log_softmax(log_exp_BK, dim=1)


def active_passive(logits_BK: Tensor, labels_B: Tensor, *, a: Scalar, b: Scalar) -> Tensor:
    """Normalised cross-entropy, which is robust to wrong labels, plus reverse cross-entropy.

        loss = a * ln p_y / sum_k ln p_k + b * -ln(1e-4) * (1 - p_y)

    Args:
        logits_BK: Logits z.
        labels_B: Labels y.
        a: Weight of the normalised cross-entropy.
        b: Weight of the reverse cross-entropy, whose ln 0 is ln 1e-4.

    References:
        Ma et al., 2020. arXiv:2006.13554. As in the authors' code
        (HanxunH/Active-Passive-Losses, NCEandRCE); checked against both sums over all classes.
    """
    log_p_BK = F.log_softmax(widened(logits_BK), dim=1)
    normalised_B = of_label(log_p_BK, labels_B) / log_p_BK.sum(dim=1)
    reverse_B = -math.log(1e-4) * log_miss(log_p_BK, labels_B).exp()
    return a * normalised_B + b * reverse_B
