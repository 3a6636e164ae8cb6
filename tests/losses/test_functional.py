"""The composite formula against independent formulas, and at numbers that break careless code."""

import math

import pytest
import torch
import torch.nn.functional as F

from losses.functional import composite, entropy, log_miss, surprise


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits_BK = 3 * torch.randn(64, 10, generator=generator, dtype=torch.float64)
    return logits_BK, torch.randint(10, (64,), generator=generator)


def p_of(logits_BK, labels_B):
    return logits_BK.softmax(1)[torch.arange(len(labels_B)), labels_B]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_nothing_given_it_is_cross_entropy_to_the_last_bit(batch, dtype):
    logits_BK, labels_B = batch[0].to(dtype), batch[1]
    expected_B = F.cross_entropy(logits_BK, labels_B, reduction="none")
    assert torch.equal(composite(logits_BK, labels_B), expected_B)


def test_half_precision_is_widened_first(batch):
    logits_BK, labels_B = batch[0].bfloat16(), batch[1]
    loss_B = composite(logits_BK, labels_B, gamma=2.0)
    assert loss_B.dtype == torch.float32
    assert torch.equal(loss_B, composite(logits_BK.float(), labels_B, gamma=2.0))


def margin(z, y):
    return F.cross_entropy((z - 0.5 * F.one_hot(y, 10)) / 1.3, y, reduction="none")


def smoothing(z, y):
    return F.cross_entropy(z, y, label_smoothing=0.2, reduction="none")


def focal(z, y):
    p = p_of(z, y)
    return -((1 - p) ** 2.5) * p.log()


def generalised(z, y):
    return (1 - p_of(z, y) ** 0.7) / 0.7


def smoothed_generalised(z, y):
    ell = (1 - z.softmax(1) ** 0.7) / 0.7
    target = F.one_hot(y, 10) * 0.8 + 0.2 / 10
    return (target * ell).sum(1)


def polynomial(z, y):
    miss = 1 - p_of(z, y)
    return F.cross_entropy(z, y, reduction="none") - 0.5 * miss + 3 * miss**2


def symmetric(z, y):
    reverse = -(z.softmax(1) * F.one_hot(y, 10).clamp_min(1e-4).log()).sum(1)
    return 6 * F.cross_entropy(z, y, reduction="none") + 0.1 * reverse


def penalties(z, y):
    h = torch.distributions.Categorical(logits=z).entropy()
    norm = z.norm(dim=1) ** 2 / 2
    top = z.max(1).values - z.mean(1)
    return F.cross_entropy(z, y, reduction="none") - 0.3 * h + 0.01 * norm + 0.2 * top


@pytest.mark.parametrize(
    ("reference", "parameters"),
    [
        (margin, {"m": 0.5, "tau": 1.3}),
        (smoothing, {"eps": 0.2}),
        (focal, {"gamma": 2.5}),
        (generalised, {"kappa": 0.7}),
        (smoothed_generalised, {"kappa": 0.7, "eps": 0.2}),
        (polynomial, {"a1": -0.5, "a2": 3.0}),
        (symmetric, {"scale": 6.0, "a1": -0.1 * math.log(1e-4) / 6}),
        (penalties, {"beta": 0.3, "lam": 0.01, "mu": 0.2}),
    ],
)
def test_each_term_against_its_own_formula(batch, reference, parameters):
    logits_BK, labels_B = batch
    torch.testing.assert_close(composite(*batch, **parameters), reference(logits_BK, labels_B))


def test_kappa_weighs_the_gradient_of_cross_entropy_by_p_to_the_kappa(batch):
    logits_BK, labels_B = batch[0].requires_grad_(), batch[1]
    (bounded_BK,) = torch.autograd.grad(composite(*batch, kappa=0.4).sum(), logits_BK)
    (plain_BK,) = torch.autograd.grad(composite(*batch).sum(), logits_BK)
    weight_B = p_of(logits_BK, labels_B) ** 0.4
    torch.testing.assert_close(bounded_BK, weight_B[:, None] * plain_BK)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kappa_passes_through_0_without_a_step(batch, dtype):
    log_p_BK = batch[0].to(dtype).log_softmax(1)
    for kappa in (0.0, 1e-12, torch.tensor(0.0)):
        torch.testing.assert_close(surprise(log_p_BK, kappa), -log_p_BK)


@pytest.mark.parametrize("gap", [0.0, 1.0, 10.0, 30.0, 80.0])
@pytest.mark.parametrize("gamma", [0.25, 1.0, 3.0])
def test_the_power_of_a_small_miss_is_exact_in_float32(gap, gamma):
    logits_BK = torch.tensor([[gap, 0.0, -2.0]])
    rest = 1 + math.exp(-2)
    exact = (rest / (math.exp(gap) + rest)) ** gamma
    power_B = (gamma * log_miss(logits_BK.log_softmax(1), torch.tensor([0]))).exp()
    assert power_B.item() == pytest.approx(exact, rel=2e-5, abs=1e-37)


def test_the_polynomial_term_still_teaches_where_float32_has_p_at_1():
    logits_BK = torch.tensor([[30.0, 0.0]], requires_grad=True)
    composite(logits_BK, torch.tensor([0]), a1=1.0).sum().backward()
    assert logits_BK.grad[0, 1].item() == pytest.approx(2 * math.exp(-30), rel=1e-5)


def test_the_entropy_of_a_certain_prediction_is_0():
    assert entropy(torch.tensor([[1e4, 0.0]]).log_softmax(1)).item() == 0
