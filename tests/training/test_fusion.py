import warnings
from dataclasses import replace
from statistics import fmean, stdev

import pytest
import torch

from tests.training.test_draws import seeded
from training import benchmark, fusion, reference, search_data, train
from training.draws import draw
from training.engine import Engine
from training.models import build


def test_compiling_pays_for_long_runs_of_our_networks_on_a_gpu() -> None:
    large, gpu = benchmark("resnet56-cifar100"), torch.device("cuda")
    assert fusion.pays(large, fusion.PAYS_FROM, gpu)
    assert not fusion.pays(large, fusion.PAYS_FROM - 1, gpu)
    assert not fusion.pays(large, 10**6, torch.device("cpu"))
    own = replace(large, architecture="my.module:build", blocks=(), width=0)
    assert not fusion.pays(own, 10**6, gpu)


def test_where_the_compiler_fails_the_network_goes_on_with_a_warning(digits, monkeypatch) -> None:
    def broken(network, **options):
        def run(images_BHWC):
            raise torch._dynamo.exc.BackendCompilerFailed(None, RuntimeError("no compiler"), None)

        return run

    monkeypatch.setattr(torch, "compile", broken)
    network = fusion.fused(lambda images_BHWC: images_BHWC + 1, digits)
    images = torch.zeros(digits.batch_size)
    with pytest.warns(UserWarning, match="resnet8-digits runs uncompiled"):
        assert network(images).sum() == digits.batch_size
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert network(images).sum() == digits.batch_size


@pytest.mark.slow
def test_a_failure_in_the_backward_pass_is_found_in_the_forward(digits, monkeypatch) -> None:
    def broken(*arguments, **options):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx_backward", broken)
    network = fusion.fused(lambda images_B: images_B.sin(), digits)
    images = torch.ones(digits.batch_size, requires_grad=True)
    with pytest.warns(UserWarning, match="runs uncompiled: .*no such instruction"):
        output = network(images)
    output.sum().backward()
    assert torch.equal(images.grad, torch.ones_like(images).cos())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_trains_the_same_and_is_compiled_once(digits, smoothed) -> None:
    import torch._dynamo
    from torch._dynamo.utils import counters

    part = search_data(digits).training
    counters.clear()
    losses = {}
    engines = {
        fuse: Engine(digits, build(digits, seeded(0)), torch.device("cpu"), fuse=fuse)
        for fuse in (False, True)
    }
    for fuse, engine in engines.items():
        losses[fuse] = []
        for seed, factor in ((0, 1.0), (1, 0.5)):  # two runs: the second finds it compiled
            engine.begin(smoothed(), build(digits, seeded(seed)).state_dict())
            for epoch in range(2):
                values = (factor * 0.1 * (2 - epoch), 10.0)
                engine.start_epoch(learning_rate=factor * 0.02 / (epoch + 1), values=values)
                batches = draw(part, flip=False, batch_size=64, generator=seeded(epoch))
                for draws in (*batches[:5], batches[-1]):
                    engine.step(part, draws)
                losses[fuse].append(engine.loss_sum.item())
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)
    assert losses[True] != losses[False]  # it was compiled
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_whole_compiled_runs_end_where_the_yardstick_does(digits, cross_entropy, monkeypatch):
    monkeypatch.setattr("training.run.pays", lambda benchmark, steps, device: True)
    seeds, finals = range(1, 6), {}
    for name, run in (("engine", train), ("yardstick", reference.train)):
        runs = [list(run(digits, cross_entropy, seed=seed, epochs=15)) for seed in seeds]
        finals[name] = [each[-1].accuracy for each in runs]
    gaps = [ours - theirs for ours, theirs in zip(*finals.values(), strict=True)]
    # Rounding alone, which 195 steps at the full rate make into noise of about half a point.
    assert abs(fmean(gaps)) <= 3 * stdev(gaps) / len(gaps) ** 0.5 + 0.1
    assert max(map(abs, gaps)) < 3
