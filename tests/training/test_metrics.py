import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss

from training import metrics


@pytest.fixture
def scored() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits_NK = 2 * torch.randn(500, 7, generator=generator)
    return logits_NK, torch.randint(7, (500,), generator=generator)


def test_accuracy_and_cross_entropy_are_scikit_learns(scored):
    logits_NK, labels_N = scored
    probabilities = logits_NK.double().softmax(1).numpy()
    accuracy = 100 * accuracy_score(labels_N, logits_NK.argmax(1))
    assert metrics.accuracy(*scored).item() == pytest.approx(accuracy)
    assert metrics.cross_entropy(*scored).item() == pytest.approx(
        log_loss(labels_N, probabilities)
    )


def test_calibration_error_by_hand():
    # Two images in one bin at confidence 0.8, one of them right; one alone at 0.5, wrong.
    p = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]])
    labels = torch.tensor([0, 0, 1])
    expected = 100 * (2 / 3 * abs(0.5 - 0.8) + 1 / 3 * abs(0 - 0.5))
    assert metrics.calibration_error(p.log(), labels).item() == pytest.approx(expected)


def test_a_calibrated_network_has_hardly_any_calibration_error():
    generator = torch.Generator().manual_seed(1)
    logits_NK = torch.randn(200_000, 3, generator=generator)
    labels_N = torch.multinomial(logits_NK.softmax(1), 1, generator=generator)[:, 0]
    assert metrics.calibration_error(logits_NK, labels_N).item() < 0.5
    assert metrics.calibration_error(3 * logits_NK, labels_N).item() > 10


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_extremes_fall_into_a_bin(scale):
    logits_NK = scale * torch.eye(3)
    error = metrics.calibration_error(logits_NK, torch.arange(3)).item()
    assert 0 <= error <= 100
