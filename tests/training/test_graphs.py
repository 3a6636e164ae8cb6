"""Replayed steps: written for a GPU, and not yet run on one."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from tests.training.conftest import CrossEntropy, Smoothed
from tests.training.test_draws import seeded
from training import search_data, train
from training.draws import draw
from training.engine import Engine
from training.graphs import Graphs
from training.models import build

pytestmark = pytest.mark.gpu

CLOSE = {"fp32": 1e-4, "tf32": 1e-3, "bf16": 2e-2}
"""How far losses may lie apart, relatively, over twelve steps at a small learning rate."""


def losses(engine: Engine, benchmark, loss, steps: int = 12) -> list[float]:
    """The loss of each step, with the learning rate and the loss's values moving."""
    part = search_data(benchmark, device="cuda").training
    engine.begin(loss, build(benchmark, seeded(0)).state_dict())
    engine.dropout.manual_seed(1)
    batches = draw(part, flip=True, batch_size=benchmark.batch_size, generator=seeded(2))
    batches = [*batches[: steps - 1], batches[-1]]  # a short one, too
    found = []
    for index, draws in enumerate(batches):
        smoothing = (0.3 / (index + 1), 10.0)[: 2 if isinstance(loss, Smoothed) else 0]
        engine.start_epoch(learning_rate=0.01 / (index + 1), values=smoothing)
        engine.step(part, draws, measure=index % 2 == 0)
        found.append(engine.loss_sum.item() / len(draws.image))
    return found


@pytest.fixture(params=["fp32", "tf32", "bf16"])
def pair(small, request) -> Iterator[tuple[Engine, Engine]]:
    """An engine that replays, and one that does not."""
    device = torch.device("cuda")
    replayed, eager = (
        Engine(small, build(small, seeded(0)), device, precision=request.param) for _ in range(2)
    )
    eager._graphs = None
    return replayed, eager


@pytest.mark.parametrize("loss", [Smoothed(), CrossEntropy(), Smoothed(structure=None)])
def test_a_replayed_step_is_the_eager_one(small, pair, loss) -> None:
    replayed, eager = pair
    expected = losses(eager, small, loss)
    assert losses(replayed, small, loss) == pytest.approx(expected, rel=CLOSE[replayed.precision])
    assert isinstance(replayed._graphs, Graphs)
    assert not replayed._graphs._broken
    assert replayed.gradient_ratio.item() == pytest.approx(eager.gradient_ratio.item(), rel=0.05)


def test_nothing_is_recorded_twice(small, pair) -> None:
    replayed, _ = pair
    first = losses(replayed, small, Smoothed(0.1))
    recorded = replayed._graphs.recordings
    assert recorded == 2 * 2 + 3  # two batch sizes; the loss measured or not, and a short batch
    losses(replayed, small, Smoothed(0.2))
    assert replayed._graphs.recordings == recorded
    losses(replayed, small, CrossEntropy())
    assert replayed._graphs.recordings == recorded + 3  # the loss's pieces alone
    assert losses(replayed, small, Smoothed(0.1)) == first  # and none has overwritten another


def test_a_recording_that_does_not_move_the_weights_as_it_should_is_not_used(
    small, monkeypatch
) -> None:
    engine = Engine(small, build(small, seeded(0)), torch.device("cuda"))
    record = Graphs._record
    monkeypatch.setattr(
        Graphs, "_record", lambda self, piece, pool: (record(self, piece, pool), lambda: None)[1]
    )
    with pytest.warns(UserWarning, match="steps are not replayed"):
        found = losses(engine, small, CrossEntropy())
    eager = Engine(small, build(small, seeded(0)), torch.device("cuda"))
    eager._graphs = None
    assert found == pytest.approx(losses(eager, small, CrossEntropy()), rel=1e-4)


def test_whole_runs_come_out_as_on_the_cpu(digits, cross_entropy) -> None:
    def final(device: str) -> float:
        data = search_data(digits, device=device)
        seeds = (1, 2, 3)
        runs = [
            list(train(digits, cross_entropy, seed=seed, epochs=15, data=data, device=device))
            for seed in seeds
        ]
        return sum(run[-1].accuracy for run in runs) / len(runs)

    assert final("cuda") == pytest.approx(final("cpu"), abs=1.5)


def test_the_gpu_finds_the_memory_for_every_benchmark_of_one_process(small, smoothed) -> None:
    for width in (8, 16, 24):
        benchmark = replace(small, width=width)
        data = search_data(benchmark, device="cuda")
        reports = list(train(benchmark, smoothed(), seed=1, epochs=2, data=data, device="cuda"))
        assert all(report.train_loss > 0 for report in reports)
