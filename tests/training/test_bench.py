from dataclasses import replace

import pytest

from training import bench, benchmark
from training.bench import measure


@pytest.fixture
def short(monkeypatch) -> None:
    monkeypatch.setattr(bench, "BATCHES", {"cpu": 2})


@pytest.mark.usefixtures("short")
def test_engine_and_yardstick_are_measured_on_real_images(digits, cross_entropy) -> None:
    found = measure(digits, cross_entropy, rounds=2)
    assert found.images == "real"
    assert found.full_images == 800
    assert len(found.engine) == len(found.yardstick) == len(found.ratios) == 2
    assert min(*found.engine, *found.yardstick) > 10
    assert 0 <= found.gap < 5
    assert found.memory > 100 * 2**20
    assert found.full_run == pytest.approx(
        found.start + 15 * 800 / (sum(found.engine) / 2), rel=1e-6
    )
    numbers = found.to_dict()
    assert numbers["ratio_least"] <= numbers["ratio"] <= numbers["ratio_most"]
    assert numbers["trials_per_hour"] == pytest.approx(
        3600 / (found.gap + 8000 / (sum(found.engine) / 2)), rel=1e-6
    )


@pytest.mark.usefixtures("short")
def test_where_the_images_are_missing_noise_of_their_shape_serves(cross_entropy, tmp_path) -> None:
    small = replace(
        benchmark("mobilenetv2-fmnist"), blocks=(1,) * 7, width=8, batch_size=16, resize=16
    )
    found = measure(small, cross_entropy, rounds=1, folder=tmp_path)
    assert found.images == "synthetic"
    assert found.full_images == 54_000


def test_the_yardstick_may_have_as_many_workers_as_there_are_cores(monkeypatch) -> None:
    for cores, expected in ((1, [0, 1]), (2, [0, 1, 2]), (6, [0, 1, 2, 4])):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert bench._loaders() == expected
