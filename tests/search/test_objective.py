import pytest

from losses import LossSpec
from search.executors import RunRequest
from search.objective import Candidate, noise
from studies.gains import Expectation

FLAT = {1: [90.0, 95.0], 2: [90.0, 95.0], 3: [90.0, 95.0]}


def candidate(*benchmarks: str) -> Candidate:
    return Candidate(
        spec=LossSpec("composite", {"gamma": 1.0}),
        seeds=[7, 8],
        epochs=2,
        expectations={name: Expectation.estimate(FLAT) for name in benchmarks},
    )


def feed(each: Candidate, seed: int, benchmark: str, accuracy: float) -> int | None:
    request = RunRequest(benchmark=benchmark, loss=each.spec, seed=seed, epochs=2)
    return each.add(request, accuracy)


def test_steps_count_over_epochs_and_seeds():
    one = candidate("a")
    steps = [feed(one, seed, "a", 90.0) for seed in (7, 7, 8, 8)]
    assert steps == [0, 1, 2, 3]


def test_a_step_waits_for_every_benchmark():
    two = candidate("a", "b")
    steps = [feed(two, 7, name, 90.0) for name in ("a", "b", "a", "b")]
    assert steps == [None, 0, None, 1]


def test_the_value_is_the_mean_gain_over_seeds_and_benchmarks():
    two = candidate("a", "b")
    for name, curve in {"a": [91.0, 97.0], "b": [89.0, 96.0]}.items():
        for accuracy in curve:
            feed(two, 7, name, accuracy)
    assert two.value(0) == pytest.approx((1 - 1) / 2)
    assert two.value(1) == pytest.approx((2 + 1) / 2)
    for name in ("a", "b"):
        feed(two, 8, name, 94.0)
    # The first seed counts with its last epoch, the second with its first.
    assert two.value(2) == pytest.approx((2 + 1 + 4 + 4) / 4)


def test_the_last_value_is_the_gain_that_is_told():
    one = candidate("a")
    for seed, curve in {7: [91.0, 97.0], 8: [92.0, 96.0]}.items():
        for accuracy in curve:
            feed(one, seed, "a", accuracy)
    assert one.value(3) == pytest.approx(one.gains()["a"].mean)
    assert one.attributes()["gain"] == {"a": 1.5}


def test_noise_falls_with_seeds_and_benchmarks():
    controls = {seed: [80.0 + seed, 90.0 + seed] for seed in range(8)}
    one, two = candidate("a"), candidate("a", "b")
    for each in (one, two):
        each.expectations = {n: Expectation.estimate(controls) for n in each.expectations}
    assert noise(one, 3) < noise(one, 1)
    assert noise(two, 1) == pytest.approx(noise(one, 1) / 2**0.5)
