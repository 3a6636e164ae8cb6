"""The composite loss, per example: a pure function of logits, labels and scalars.

Shapes: B examples of a batch, K classes. A suffix names a tensor's axes: logits_BK is [B, K].
A parameter is a float or a 0-d tensor, whose value may change while a CUDA graph is replayed:
nothing here branches on a value. None leaves the parameter's term out.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Scalar = float | Tensor

TINY = 1e-20
"""Added to kappa: lost in rounding beside any kappa searched, and at 0 a division that works."""


def composite(  # noqa: PLR0913  (one argument for each symbol of the formula)
    logits_BK: Tensor,
    labels_B: Tensor,
    *,
    m: Scalar | None = None,
    tau: Scalar | None = None,
    eps: Scalar | None = None,
    gamma: Scalar | None = None,
    kappa: Scalar | None = None,
    a1: Scalar | None = None,
    a2: Scalar | None = None,
    beta: Scalar | None = None,
    lam: Scalar | None = None,
    mu: Scalar | None = None,
    scale: Scalar | None = None,
) -> Tensor:
    """Cross-entropy and its common relatives in one formula.

        z'     = (z - m * onehot(y)) / tau,  p = softmax(z')
        ell(p) = (1 - p^kappa) / kappa,  which is -ln p at kappa 0
        ce     = (1 - eps) * ell(p_y) + eps * mean_k ell(p_k)
        loss   = scale * [(1 - p_y)^gamma * ce + a1 * (1 - p_y) + a2 * (1 - p_y)^2
                          - beta * H(p) + lam * sum_k z_k^2 / 2 + mu * (max_k z_k - mean_k z_k)]

    With every parameter None this is `F.cross_entropy(..., reduction="none")`, to the last bit.

    Args:
        logits_BK: Logits z of any floating type; the work is done in float32 or wider.
        labels_B: Labels y, integers in [0, K).
        m: Logit margin, taken off the label's logit.
        tau: Temperature, above 0.
        eps: Label smoothing, in [0, 1).
        gamma: Focus on hard examples, at least 0.
        kappa: Mistrust of the label, in [0, 1].
        a1: Weight of the linear polynomial term.
        a2: Weight of the quadratic polynomial term.
        beta: Weight of the confidence penalty.
        lam: Weight of the logit penalty.
        mu: Weight of max suppression.
        scale: Factor of the whole loss.

    Returns:
        Loss of each example in nats, shape [B].

    References:
        eps: Szegedy et al., 2016. arXiv:1512.00567
        gamma: Lin et al., 2017. arXiv:1708.02002
        kappa: Zhang & Sabuncu, 2018. arXiv:1805.07836
        a1, a2: Leng et al., 2022. arXiv:2204.12511
        beta: Pereyra et al., 2017. arXiv:1701.06548
        mu: Zhou et al., 2025. arXiv:2502.15798
    """
    z_BK = widened(logits_BK)
    log_p_BK = F.log_softmax(adjusted(z_BK, labels_B, m, tau), dim=1)
    loss_B = smoothed(surprise(log_p_BK, kappa), labels_B, eps)
    if gamma is not None or a1 is not None or a2 is not None:
        log_miss_B = log_miss(log_p_BK, labels_B)
        if gamma is not None:
            loss_B = (gamma * log_miss_B).exp() * loss_B
        if a1 is not None:
            loss_B = loss_B + a1 * log_miss_B.exp()
        if a2 is not None:
            loss_B = loss_B + a2 * (2 * log_miss_B).exp()
    if beta is not None:
        loss_B = loss_B - beta * entropy(log_p_BK)
    if lam is not None:
        loss_B = loss_B + lam * z_BK.square().sum(dim=1) / 2
    if mu is not None:
        loss_B = loss_B + mu * (z_BK.amax(dim=1) - z_BK.mean(dim=1))
    return loss_B if scale is None else scale * loss_B


def widened(logits_BK: Tensor) -> Tensor:
    """Return the logits in float32, or as they are where they are wider."""
    return logits_BK.to(torch.promote_types(logits_BK.dtype, torch.float32))


def of_label(each_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Return what stands at each example's label, shape [B]."""
    return each_BK.gather(1, labels_B[:, None]).squeeze(1)


def adjusted(z_BK: Tensor, labels_B: Tensor, m: Scalar | None, tau: Scalar | None) -> Tensor:
    """Return (z - m * onehot(y)) / tau."""
    if m is not None:
        z_BK = z_BK - m * F.one_hot(labels_B, z_BK.shape[1])
    return z_BK if tau is None else z_BK / tau


def surprise(log_p_BK: Tensor, kappa: Scalar | None) -> Tensor:
    """Return ell(p) = (1 - p^kappa) / kappa, which tends to -ln p as kappa tends to 0."""
    if kappa is None:
        return -log_p_BK
    kappa = kappa + TINY  # a schedule may pass through 0
    return -torch.expm1(kappa * log_p_BK) / kappa


def smoothed(ell_BK: Tensor, labels_B: Tensor, eps: Scalar | None) -> Tensor:
    """Return (1 - eps) * ell(p_y) + eps * mean_k ell(p_k)."""
    ell_B = of_label(ell_BK, labels_B)
    return ell_B if eps is None else (1 - eps) * ell_B + eps * ell_BK.mean(dim=1)


def log_miss(log_p_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Return ln(1 - p_y), summed over the other classes: exact however close p_y comes to 1."""
    return log_p_BK.scatter(1, labels_B[:, None], -math.inf).logsumexp(dim=1)


def entropy(log_p_BK: Tensor) -> Tensor:
    """Return H(p) = -sum_k p_k ln p_k, in nats."""
    return -(log_p_BK.exp() * log_p_BK).sum(dim=1)
