"""Losses of other structures against the same equations computed in another way."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_expit, log_softmax

from losses import LossSpec
from losses.structures import asymmetric, logit_norm, ngl, sigmoid, squentropy, taylor


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits_BK = 3 * torch.randn(64, 10, generator=generator, dtype=torch.float64)
    return logits_BK, torch.randint(10, (64,), generator=generator)


def of_each_example(batch, formula):
    """Return formula(z, y) of each example, z a list and y a number."""
    rows = zip(batch[0].tolist(), batch[1].tolist(), strict=True)
    return torch.tensor([formula(z, y) for z, y in rows], dtype=torch.float64)


def test_taylor_is_a_polynomial_of_two_variables(batch):
    th = [0.3, -1.7, 2.1, -0.4, 5.0, -3.3, 0.9, 7.7]
    weights = np.zeros((4, 3))  # of u^i v^j
    weights[1, 0], weights[2, 0], weights[3, 0] = th[2], th[3] / 2, th[4] / 6
    weights[1, 1], weights[2, 1], weights[1, 2] = th[5], th[6] / 2, th[7] / 2
    u = batch[0].softmax(1).numpy() - th[1]
    v = np.eye(10)[batch[1].numpy()] - th[0]
    expected_B = -np.polynomial.polynomial.polyval2d(u, v, weights).sum(axis=1)
    loss_B = taylor(*batch, **{f"th{i}": value for i, value in enumerate(th)})
    torch.testing.assert_close(loss_B, torch.tensor(expected_B))


@pytest.mark.parametrize(("gp", "gn", "eps"), [(1, 4, 0.1), (0, 4, 0.1), (2.5, 0.5, 0.3)])
def test_asymmetric_against_a_loop_over_the_classes(batch, gp, gn, eps):
    def expected(z, y):
        log_p = log_softmax(z)
        p = np.exp(log_p)
        weight = [(1 - p[k]) ** gp if k == y else p[k] ** gn for k in range(10)]
        target = [(1 - eps) * (k == y) + eps / 10 for k in range(10)]
        return -sum(q * w * each for q, w, each in zip(target, weight, log_p, strict=True))

    loss_B = asymmetric(*batch, gp=gp, gn=gn, eps=eps)
    torch.testing.assert_close(loss_B, of_each_example(batch, expected))


def test_asymmetric_without_smoothing_is_focal(batch):
    focal_B = LossSpec("focal", {"gamma": 1.5}).per_example(*batch, progress=0.0)
    torch.testing.assert_close(asymmetric(*batch, gp=1.5, gn=3.0, eps=0.0), focal_B)


def test_asymmetric_without_focus_is_label_smoothing(batch):
    expected_B = F.cross_entropy(*batch, label_smoothing=0.2, reduction="none")
    torch.testing.assert_close(asymmetric(*batch, eps=0.2), expected_B)


def test_logit_norm_is_cross_entropy_of_normalised_logits(batch):
    expected_B = F.cross_entropy(F.normalize(batch[0]) / 0.04, batch[1], reduction="none")
    torch.testing.assert_close(logit_norm(*batch, tau=0.04), expected_B, rtol=1e-5, atol=1e-6)


def test_logit_norm_does_not_see_how_long_the_logits_are(batch):
    logits_BK, labels_B = batch
    expected_B = logit_norm(logits_BK, labels_B, tau=0.5)
    longer_B = logit_norm(1000 * logits_BK, labels_B, tau=0.5)
    torch.testing.assert_close(longer_B, expected_B, rtol=1e-5, atol=1e-6)


def test_squentropy_against_a_loop_over_the_classes(batch):
    def expected(z, y):
        others = [z[k] ** 2 for k in range(10) if k != y]
        return -log_softmax(z)[y] + 0.7 * sum(others) / len(others)

    torch.testing.assert_close(squentropy(*batch, c=0.7), of_each_example(batch, expected))


def test_ngl_against_a_loop_over_the_classes(batch):
    def expected(z, y):
        p = np.exp(log_softmax(z))
        terms = [
            math.exp(2.4092 - p[k] - p[k] * (k == y)) - math.cos(math.cos(math.sin(p[k])))
            for k in range(10)
        ]
        return sum(terms) / 10

    torch.testing.assert_close(ngl(*batch, alpha=2.4092), of_each_example(batch, expected))


@pytest.mark.parametrize("a", [0.0, 0.5, 1.0])
def test_sigmoid_against_a_loop_over_the_classes(batch, a):
    def expected(z, y):
        return -sum(log_expit(z[k] if k == y else -z[k]) for k in range(10)) / 10**a

    torch.testing.assert_close(sigmoid(*batch, a=a), of_each_example(batch, expected))


def test_sigmoid_with_the_mean_is_what_torch_means_by_it(batch):
    target_BK = F.one_hot(batch[1], 10).double()
    expected = F.binary_cross_entropy_with_logits(batch[0], target_BK)
    torch.testing.assert_close(sigmoid(*batch, a=1.0).mean(), expected)
