"""Losses of another structure than the composite formula's, per example.

As in `losses.functional`: shapes B examples and K classes; a parameter is a float or a 0-d tensor
whose value may change while a CUDA graph is replayed; None leaves its term out. Each function
takes logits of any floating type and integer labels in [0, K), works in float32 or wider, and
returns the loss of each example, shape [B].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.functional import Scalar, log_miss, of_label, smoothed, widened


def taylor(  # noqa: PLR0913  (one argument for each symbol of the formula)
    logits_BK: Tensor,
    labels_B: Tensor,
    *,
    th0: Scalar,
    th1: Scalar,
    th2: Scalar,
    th3: Scalar,
    th4: Scalar,
    th5: Scalar,
    th6: Scalar,
    th7: Scalar,
) -> Tensor:
    """Third-order Taylor polynomial in each class's probability and its target.

        loss = -sum_k (th2 u + th3 u^2 / 2 + th4 u^3 / 6 + th5 v u + th6 v u^2 / 2 + th7 v^2 u / 2)
        u = p_k - th1,  v = [k = y] - th0

    Args:
        logits_BK: Logits z.
        labels_B: Labels y.
        th0: Centre of the target.
        th1: Centre of the probability.
        th2: Weight of u.
        th3: Weight of u^2.
        th4: Weight of u^3.
        th5: Weight of v u.
        th6: Weight of v u^2.
        th7: Weight of v^2 u.

    References:
        Gonzalez & Miikkulainen, 2020. arXiv:2002.00059. The factorials are the paper's, the sum
        over classes the authors' code's (cognizant-ai-labs/TaylorGLO), which has the factorials
        in its weights; checked against numpy's polynomials.
    """
    z_BK = widened(logits_BK)
    u = F.softmax(z_BK, dim=1) - th1
    v = F.one_hot(labels_B, z_BK.shape[1]).to(z_BK) - th0
    of_u = th2 * u + th3 * u**2 / 2 + th4 * u**3 / 6
    return -(of_u + th5 * v * u + th6 * v * u**2 / 2 + th7 * v**2 * u / 2).sum(dim=1)


def asymmetric(
    logits_BK: Tensor,
    labels_B: Tensor,
    *,
    gp: Scalar | None = None,
    gn: Scalar | None = None,
    eps: Scalar | None = None,
) -> Tensor:
    """Smoothed cross-entropy that focuses the label and the other classes each in its own way.

        loss = -sum_k q_k w_k ln p_k,  q_k = (1 - eps) [k = y] + eps / K
        w_y = (1 - p_y)^gp,  w_k = p_k^gn elsewhere

    Cross-entropy at gp = gn = eps = 0; the other classes have no say while eps is 0.

    Args:
        logits_BK: Logits z.
        labels_B: Labels y.
        gp: Focus on hard examples, at least 0.
        gn: Focus on other classes that are taken for likely, at least 0.
        eps: Label smoothing, in [0, 1).

    References:
        Ridnik et al., 2021. arXiv:2009.14119. The form for a single label, in the authors' code
        (Alibaba-MIIL/ASL, ASLSingleLabel) and in timm 1.0 (AsymmetricLossSingleLabel), which it
        was checked against.
    """
    log_p_BK = F.log_softmax(widened(logits_BK), dim=1)
    ell_B = -of_label(log_p_BK, labels_B)
    if gp is not None:
        ell_B = (gp * log_miss(log_p_BK, labels_B)).exp() * ell_B
    ell_BK = -log_p_BK if gn is None else -(gn * log_p_BK).exp() * log_p_BK
    return smoothed(ell_BK.scatter(1, labels_B[:, None], ell_B[:, None]), labels_B, eps)


def logit_norm(logits_BK: Tensor, labels_B: Tensor, *, tau: Scalar) -> Tensor:
    """Cross-entropy of logits whose length is fixed to 1 / tau.

        loss = -ln p_y,  p = softmax(z / (tau * (norm(z) + 1e-7)))

    Args:
        logits_BK: Logits z.
        labels_B: Labels y.
        tau: Temperature, above 0.

    References:
        Wei et al., 2022. arXiv:2205.09310. As in the authors' code (hongxin001/logitnorm_ood);
        checked against `torch.nn.functional.normalize`.
    """
    z_BK = widened(logits_BK)
    norm_B1 = torch.linalg.vector_norm(z_BK, dim=1, keepdim=True) + 1e-7
    return F.cross_entropy(z_BK / (tau * norm_B1), labels_B, reduction="none")


def squentropy(logits_BK: Tensor, labels_B: Tensor, *, c: Scalar) -> Tensor:
    """Cross-entropy plus the mean square of the other classes' logits.

        loss = -ln p_y + c * sum over k != y of z_k^2 / (K - 1)

    Args:
        logits_BK: Logits z.
        labels_B: Labels y.
        c: Weight of the squares, at least 0.

    References:
        Hui et al., 2023. arXiv:2302.03952. As in the authors' code (Like-Hui/Squentropy_vision);
        checked against a loop over the classes.
    """
    z_BK = widened(logits_BK)
    others_BK = z_BK.scatter(1, labels_B[:, None], 0.0)
    square_B = others_BK.square().sum(dim=1) / (z_BK.shape[1] - 1)
    return F.cross_entropy(z_BK, labels_B, reduction="none") + c * square_B


def ngl(logits_BK: Tensor, labels_B: Tensor, *, alpha: Scalar) -> Tensor:
    """Next Generation Loss, which genetic programming found.

        loss = mean_k (exp(alpha - p_k (1 + [k = y])) - cos(cos(sin p_k)))

    Args:
        logits_BK: Logits z.
        labels_B: Labels y.
        alpha: How strong the exponential is.

    References:
        Akhmedova & Körber, 2024. arXiv:2404.12948. As in the authors' code
        (ZKI-PH-ImageAnalysis/Next-Generation-Loss); checked against a loop over the classes.
    """
    z_BK = widened(logits_BK)
    p_BK = F.softmax(z_BK, dim=1)
    exponent_BK = alpha - p_BK * (1 + F.one_hot(labels_B, z_BK.shape[1]))
    return (exponent_BK.exp() - p_BK.sin().cos().cos()).mean(dim=1)


def sigmoid(logits_BK: Tensor, labels_B: Tensor, *, a: Scalar) -> Tensor:
    """One binary cross-entropy for each class: from their sum to their mean.

        loss = sum_k (ln(1 + exp z_k) - [k = y] z_k) / K^a

    Args:
        logits_BK: Logits z.
        labels_B: Labels y.
        a: 0 for the sum, 1 for the mean.

    References:
        Wightman et al., 2021. arXiv:2110.00476. As in timm 1.0 (BinaryCrossEntropy without
        smoothing), which it was checked against.
    """
    z_BK = widened(logits_BK)
    target_BK = F.one_hot(labels_B, z_BK.shape[1]).to(z_BK)
    loss_BK = F.binary_cross_entropy_with_logits(z_BK, target_BK, reduction="none")
    return loss_BK.sum(dim=1) / z_BK.shape[1] ** a
