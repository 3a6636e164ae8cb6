from statistics import fmean, stdev

import pytest

from studies.published import published_results
from training import benchmarks


def test_every_result_is_of_a_benchmark_that_exists():
    assert {each.benchmark for each in published_results()} <= set(benchmarks())
    assert len(published_results()) == 3 * 8


@pytest.mark.parametrize(
    ("name", "benchmark", "mean", "deviation"),
    [
        ("focal_loss", "resnet56-cifar100", 72.08, 0.46),
        ("label_smoothing", "resnet56-cifar100", 72.21, 0.77),
        ("poly_loss", "resnet56-cifar100", 72.21, 0.64),
        ("focal_loss", "vgg16bn-cifar100", 73.90, 0.72),
        ("label_smoothing", "vgg16bn-cifar100", 74.68, 0.23),
        ("poly_loss", "vgg16bn-cifar100", 74.24, 0.16),
        ("focal_loss", "mobilenetv2-fmnist", 94.36, 0.22),
        ("label_smoothing", "mobilenetv2-fmnist", 94.80, 0.18),
        ("poly_loss", "mobilenetv2-fmnist", 94.64, 0.12),
    ],
)
def test_the_baselines_have_the_published_means(name, benchmark, mean, deviation):
    (found,) = (
        each for each in published_results() if (each.name, each.benchmark) == (name, benchmark)
    )
    assert list(found.best) == [42, 123, 456]
    assert fmean(found.best.values()) == pytest.approx(mean, abs=0.006)
    assert stdev(found.best.values()) == pytest.approx(deviation, abs=0.006)
