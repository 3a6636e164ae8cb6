from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training import Benchmark, benchmark


@dataclass(frozen=True)
class Smoothed:
    """Cross-entropy with label smoothing that fades linearly to zero."""

    smoothing: float = 0.1
    structure: str | None = "smoothed"

    def values(self, epoch: int, total_epochs: int, num_classes: int) -> tuple[float, ...]:
        return (self.smoothing * (1 - epoch / total_epochs), num_classes)

    def __call__(self, logits_BK: Tensor, labels_B: Tensor, values_P: Tensor) -> Tensor:
        smoothing, num_classes = values_P
        log_p_BK = F.log_softmax(logits_BK, 1)
        hit_B = log_p_BK.gather(1, labels_B[:, None])[:, 0]
        return -(1 - smoothing) * hit_B - smoothing / num_classes * log_p_BK.sum(1)


@dataclass(frozen=True)
class CrossEntropy:
    structure: str | None = "cross-entropy"

    def values(self, epoch: int, total_epochs: int, num_classes: int) -> tuple[float, ...]:
        return ()

    def __call__(self, logits_BK: Tensor, labels_B: Tensor, values_P: Tensor) -> Tensor:
        return F.cross_entropy(logits_BK, labels_B, reduction="none")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are too small for two, which wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def smoothed() -> type[Smoothed]:
    return Smoothed


@pytest.fixture(scope="session")
def cross_entropy() -> CrossEntropy:
    return CrossEntropy()


@pytest.fixture(scope="session")
def digits() -> Benchmark:
    return benchmark("resnet8-digits")


@pytest.fixture(
    scope="session",
    params=[("resnet", (1, 1, 1)), ("vgg", (1, 1)), ("mobilenet", (1,) * 7)],
    ids=lambda param: param[0],
)
def small(request: pytest.FixtureRequest, digits: Benchmark) -> Benchmark:
    """Each architecture, small enough to train on digits in seconds."""
    architecture, blocks = request.param
    return replace(digits, name="small", architecture=architecture, blocks=blocks, flip=True)


@pytest.fixture
def untouched_global_generator() -> Iterator[None]:
    """Fails the test if it moves torch's global generator."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)
