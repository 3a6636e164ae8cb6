from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from studies.statistics import Noise, compare, holm, planned
from tests.studies.coverage import simulate

STUDIES = 1000
THREE_SIGMA = 3 * sqrt(0.95 * 0.05 / STUDIES)


@pytest.mark.parametrize(
    ("rho", "seeds", "losses"),
    [
        (0.0, 3, 2),
        (0.5, 3, 2),
        (0.9, 3, 5),
        (1.0, 3, 2),
        (0.0, 5, 2),
        (0.0, 12, 2),
    ],
)
def test_the_interval_holds_whatever_is_shared(rho: float, seeds: int, losses: int) -> None:
    found = simulate(rho, seeds, losses, studies=STUDIES)
    assert found.covered > 0.95 - THREE_SIGMA
    assert found.wrongly_better < 0.025 + THREE_SIGMA / sqrt(2)


@pytest.mark.parametrize("seeds", [3, 5, 12])
def test_the_interval_is_not_needlessly_wide(seeds: int) -> None:
    """With four losses: hardly wider than unpaired where nothing is shared, and soon narrower."""
    nothing, half, much = (simulate(rho, seeds, 4, studies=200) for rho in (0.0, 0.5, 0.9))
    assert nothing.half_width < 1.1 * nothing.unpaired_half_width
    assert half.half_width < 0.85 * half.unpaired_half_width
    assert much.half_width < 0.5 * much.unpaired_half_width


def test_on_common_seeds_it_is_the_paired_t_test() -> None:
    """Two losses on the same seeds alone leave no choice of weights."""
    rng = np.random.default_rng(2)
    seed_N = rng.normal(size=9)
    loss_N, control_N = (70 + seed_N + rng.normal(size=9) for _ in range(2))
    runs, controls = dict(enumerate(loss_N.tolist())), dict(enumerate(control_N.tolist()))
    gain = compare(runs, controls, Noise.pooled({"a": runs, "b": controls}, controls))
    paired = stats.ttest_rel(loss_N, control_N)
    assert gain.p_two_sided == pytest.approx(paired.pvalue)
    assert gain.interval() == pytest.approx(tuple(paired.confidence_interval()))
    assert gain.freedom == pytest.approx(8)


def test_on_seeds_apart_it_is_the_difference_of_means() -> None:
    """All that is known of the spread is the controls', so they alone carry the error."""
    runs, controls = {10: 74.0, 11: 73.0}, {1: 70.0, 2: 72.0, 3: 74.0}
    gain = compare(runs, controls, Noise.pooled({"a": runs, "b": controls}, controls))
    assert gain.mean == pytest.approx(73.5 - 72)
    assert gain.standard_error == pytest.approx(sqrt(4 / 2 + 4 / 3))
    assert gain.freedom == 2


def test_a_case_worked_by_hand() -> None:
    """One seed of two is shared, so half of what it deviates is taken for the loss's too.

    Controls of 70 and 74 and one run of 76 beside the second: expected at 72 + (74 - 72) / 2, so
    the weights are 1, -1/4 and -3/4. Own: (1 + 1/16 + 9/16) - (1/16 + 1/16), the sums by seed
    being -1/4 and 1/4.
    """
    gain = compare(
        {2: 76.0},
        {1: 70.0, 2: 74.0},
        Noise(own=2.0, own_freedom=5, whole=8.0, whole_freedom=7),
    )
    assert gain.mean == pytest.approx(3)
    assert gain.standard_error == pytest.approx(sqrt(1.5 * 2 + 0.125 * 8))
    estimated, assumed = 4**2 / (3**2 / 5 + 1 / 7), 0.875**2 / (0.75**2 / 5 + 0.125**2 / 7)
    assert gain.freedom == pytest.approx(min(estimated, assumed))


def test_the_residual_is_pooled_over_all_losses() -> None:
    """What is left of loss + seed, by hand: of four cells in a square, half their interaction."""
    finals = {"a": {1: 70.0, 2: 72.0}, "b": {1: 80.0, 2: 86.0}, "c": {7: 5.0}}
    noise = Noise.pooled(finals, finals["a"])
    assert (noise.own, noise.own_freedom) == pytest.approx(((6 - 2) ** 2 / 4, 1))
    assert (noise.whole, noise.whole_freedom) == pytest.approx((2, 1))


def test_one_seed_leaves_the_controls_to_say_it_all() -> None:
    finals = {"a": {1: 75.0}, "b": {1: 70.0, 2: 72.0, 3: 74.0}}
    noise = Noise.pooled(finals, finals["b"])
    assert noise.own_freedom == 0
    gain = compare(finals["a"], finals["b"], noise)
    assert gain.freedom == 2
    assert gain.standard_error > 2  # a run's whole spread


def test_without_any_noise_the_gain_is_certain() -> None:
    finals = {"a": {1: 75.0, 2: 75.0}, "b": {1: 70.0, 2: 70.0, 3: 70.0}}
    gain = compare(finals["a"], finals["b"], Noise.pooled(finals, finals["b"]))
    assert gain.interval() == pytest.approx((5, 5))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]),
        ([0.01, 0.011], [0.02, 0.02]),
        ([0.9, 0.8, 0.01], [1.0, 1.0, 0.03]),
    ],
)
def test_holm_adjusts_for_there_being_several(given: list[float], expected: list[float]) -> None:
    assert holm(given) == pytest.approx(expected)


def test_holm_is_seldom_wrong_about_any() -> None:
    """Eight losses that are all cross-entropy: at least one is called different in 5 %."""
    rng = np.random.default_rng(3)
    wrong = np.mean([min(holm(rng.uniform(size=8).tolist())) <= 0.05 for _ in range(4000)])
    assert wrong == pytest.approx(0.05, abs=3 * sqrt(0.05 * 0.95 / 4000))


def test_what_was_planned_is_found_in_four_cases_of_five() -> None:
    """The whole way: spread and share are put in, and studies with that gain are judged."""
    rng, spread, rho, seeds = np.random.default_rng(4), 2.0, 0.5, 5
    detectable = planned(spread, rho, seeds=seeds, controls=8, losses=3).smallest_found()
    found = 0
    for _ in range(STUDIES):
        seed_N = sqrt(rho) * rng.normal(size=8)
        finals_LN = spread * (seed_N + sqrt(1 - rho) * rng.normal(size=(3, 8)))
        finals_LN[1] += detectable
        controls = dict(enumerate(finals_LN[0].tolist()))
        finals = {str(n): dict(enumerate(finals_LN[n, :seeds].tolist())) for n in (1, 2)}
        noise = Noise.pooled({"0": controls, **finals}, controls)
        found += compare(finals["1"], controls, noise).p_value <= 0.025
    assert found / STUDIES == pytest.approx(0.8, abs=3 * sqrt(0.16 / STUDIES))


def test_more_seeds_find_smaller_gains() -> None:
    found = [
        planned(1.0, 0.5, seeds=seeds, controls=max(8, seeds), losses=4).smallest_found()
        for seeds in (2, 3, 5, 8, 15)
    ]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.5 * found[0]
