"""Losses for wrong labels against the papers' equations, solved and summed in other ways."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import brentq

from losses.robust import active_passive, log_tempered_softmax, tempered


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits_BK = 2 * torch.randn(32, 4, generator=generator, dtype=torch.float64)
    return logits_BK, torch.randint(4, (32,), generator=generator)


def exp_t(a, t):
    return (1 + (1 - t) * a) ** (1 / (1 - t))


def log_t(p, t):
    return (p ** (1 - t) - 1) / (1 - t)


def tempered_softmax(logits_BK, t2):
    """Return p_k = exp_t2(z_k - A), each row's A found by bracketing."""

    def excess(shift, logits_K):
        return exp_t(logits_K - shift, t2).sum().item() - 1

    rows = []
    for logits_K in logits_BK:
        top = logits_K.max().item()
        highest = top - log_t(1 / len(logits_K), t2)
        rows.append(exp_t(logits_K - brentq(excess, top, highest, args=(logits_K,)), t2))
    return torch.stack(rows)


@pytest.mark.parametrize(("t2", "tolerance"), [(1.05, 1e-6), (1.2, 1e-5), (1.5, 1e-3)])
def test_five_steps_find_the_norm_of_the_tempered_softmax(batch, t2, tolerance):
    p_BK = log_tempered_softmax(batch[0], t2).exp()
    expected_BK = tempered_softmax(batch[0], t2)
    torch.testing.assert_close(p_BK, expected_BK, rtol=tolerance, atol=0)


@pytest.mark.parametrize("scale", [0.1, 4.0, 1e4])
@pytest.mark.parametrize("t2", [1.0, 1.2, 2.0, 4.0])
def test_the_tempered_softmax_sums_to_1_even_where_it_has_not_settled(scale, t2):
    log_p_BK = log_tempered_softmax(scale * torch.randn(16, 100), t2)
    torch.testing.assert_close(log_p_BK.logsumexp(dim=1), torch.zeros(16), rtol=0, atol=2e-6)


def test_a_tempered_softmax_has_heavy_tails():
    log_p_BK = log_tempered_softmax(torch.tensor([[0.0, 1e4]]), 1.5)
    # exp_t(-1e4) = (1 + 0.5 * 1e4)^-2, and the other class has all the rest
    assert log_p_BK[0, 0].item() == pytest.approx(-2 * math.log(5001), rel=1e-4)


@pytest.mark.parametrize(("t1", "t2"), [(0.8, 1.2), (0.5, 1.1), (0.2, 1.05)])
def test_tempered_is_the_bregman_divergence_of_the_paper(batch, t1, t2):
    logits_BK, labels_B = batch
    p_BK, y_BK = tempered_softmax(logits_BK, t2), F.one_hot(labels_B, 4).double()
    gap_BK = y_BK * (log_t(y_BK, t1) - log_t(p_BK, t1))
    powers_BK = (y_BK ** (2 - t1) - p_BK ** (2 - t1)) / (2 - t1)
    loss_B = tempered(*batch, t1=t1, t2=t2)
    torch.testing.assert_close(loss_B, (gap_BK - powers_BK).sum(1), rtol=1e-5, atol=1e-6)


def test_its_gradient_is_the_papers(batch):
    logits_BK, labels_B = batch[0].requires_grad_(), batch[1]
    (gradient_BK,) = torch.autograd.grad(tempered(*batch, t1=0.8, t2=1.2).sum(), logits_BK)
    p_BK = tempered_softmax(logits_BK.detach(), 1.2)
    escort_BK = p_BK**1.2 / (p_BK**1.2).sum(1, keepdim=True)
    pull_BK = (p_BK - F.one_hot(labels_B, 4)) * p_BK ** (1.2 - 0.8)
    expected_BK = pull_BK - escort_BK * pull_BK.sum(1, keepdim=True)
    torch.testing.assert_close(gradient_BK, expected_BK, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", [0.0, 1e-12, 1e-6, torch.tensor(0.0)])
def test_both_temperatures_pass_through_1_without_a_step(batch, dtype, step):
    logits_BK, labels_B = batch[0].to(dtype), batch[1]
    loss_B = tempered(logits_BK, labels_B, t1=1 - step, t2=1 + step)
    expected_B = F.cross_entropy(logits_BK, labels_B, reduction="none")
    torch.testing.assert_close(loss_B, expected_B, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("t1", [0.0, 0.5, 0.8])
def test_a_bounded_loss_is_bounded(t1):
    logits_BK = torch.tensor([[-1e4, 0.0]])
    loss = tempered(logits_BK, torch.tensor([0]), t1=t1).item()
    # nothing for the label, everything for another class
    assert loss == pytest.approx(1 / (1 - t1))


def test_active_passive_against_its_sums_over_all_classes(batch):
    logits_BK, labels_B = batch
    p_BK, y_BK = logits_BK.softmax(1), F.one_hot(labels_B, 4)
    each_BK = torch.stack(
        [
            F.cross_entropy(logits_BK, torch.full_like(labels_B, k), reduction="none")
            for k in range(4)
        ]
    ).T
    normalised_B = F.cross_entropy(logits_BK, labels_B, reduction="none") / each_BK.sum(1)
    reverse_B = -(p_BK * y_BK.clamp_min(1e-4).log()).sum(1)
    loss_B = active_passive(*batch, a=10.0, b=0.1)
    torch.testing.assert_close(loss_B, 10 * normalised_B + 0.1 * reverse_B, rtol=1e-6, atol=1e-7)


def test_the_normalised_cross_entropies_of_all_classes_sum_to_1(batch):
    labels = [torch.full_like(batch[1], k) for k in range(4)]
    total_B = sum(active_passive(batch[0], labels_B, a=1.0, b=0.0) for labels_B in labels)
    torch.testing.assert_close(total_B, torch.ones(32, dtype=torch.float64))
