import pytest
import torch
from torch import nn

from training import benchmark, benchmarks
from training.models import build
from training.models.vgg import Dropout

# Published counts; resnet8's is 80 + 1,200 + 3,680 + 14,528 + 330 by hand.
PARAMETERS = {
    "resnet8-digits": 19_810,
    "resnet20-cifar10": 272_474,
    "resnet56-cifar100": 861_620,
    "vgg16bn-cifar100": 15_032_868,
    "mobilenetv2-fmnist": 2_236_682,
}

pytestmark = pytest.mark.usefixtures("untouched_global_generator")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", benchmarks())
def test_a_network_has_its_published_size_and_gives_logits(name: str) -> None:
    entry = benchmark(name)
    model = build(entry, seeded(0)).eval()
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    side = 8 if entry.data == "digits" else 32
    images_BCHW = torch.rand(2, len(entry.mean), side, side, generator=seeded(1))
    assert model(images_BCHW).shape == (2, entry.num_classes)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet56-cifar100", (64, 8, 8)),
        ("vgg16bn-cifar100", (512, 1, 1)),
        ("mobilenetv2-fmnist", (1280, 4, 4)),
    ],
)
def test_a_network_halves_the_side_as_often_as_published(name: str, shape) -> None:
    model = build(benchmark(name), seeded(0)).eval()
    shapes = []
    model.body.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    model(torch.rand(2, 3, 32, 32, generator=seeded(1)))
    assert shapes == [(2, *shape)]


def test_the_generator_alone_decides_the_weights(small) -> None:
    first, again, other = (build(small, seeded(seed)).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_every_layer_is_initialised_as_the_protocol_says() -> None:
    for module in build(benchmark("mobilenetv2-fmnist"), seeded(0)).modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            spread = module.weight.std().item() * (fan_out / 2) ** 0.5
            assert spread == pytest.approx(1, abs=5 / module.weight.numel() ** 0.5)
        elif isinstance(module, nn.BatchNorm2d):
            zeros, ones = torch.zeros(module.num_features), torch.ones(module.num_features)
            assert torch.equal(module.weight, ones)
            assert torch.equal(module.bias, zeros)
            assert torch.equal(module.running_mean, zeros)
            assert torch.equal(module.running_var, ones)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            for parameter in (module.weight, module.bias):
                assert parameter.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_dropout_draws_from_its_own_generator() -> None:
    dropout = Dropout(0.5)
    features_BD = torch.ones(100, 100)
    with pytest.raises(RuntimeError, match="no generator"):
        dropout(features_BD)
    dropout.generator = seeded(3)
    first, second = dropout(features_BD), dropout(features_BD)
    dropout.generator.manual_seed(3)
    assert torch.equal(dropout(features_BD), first)
    assert not torch.equal(first, second)
    assert first.unique().tolist() == [0, 2]
    assert first.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(dropout.eval()(features_BD), features_BD)
