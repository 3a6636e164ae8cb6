"""Simulated studies: what gains say is held against what was put in.

A run is rho times its control's deviation and noise of its own, both of standard deviation 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from studies.gains import PRIOR_PAIRS, PRIOR_RHO, Expectation, Gain, Pair, mean_gain

CONTROLS = 8
STUDIES = 600
THREE_SIGMA = 3 * sqrt(0.95 * 0.05 / STUDIES)


class Simulated:
    """One benchmark of one study: controls, and losses whose runs share their noise."""

    def __init__(self, rng: np.random.Generator, rho: float) -> None:
        self.rng, self.rho = rng, rho
        self.controls = dict(enumerate(rng.normal(70, 1, CONTROLS)))

    def runs(self, gain: float, seeds: range) -> dict[int, list[float]]:
        """Final accuracies by seed; a seed without a control shares nothing."""
        noise = self.rng.normal(0, 1, len(seeds))
        shared = [self.controls.get(seed, None) for seed in seeds]
        return {
            seed: [70 + gain + own]
            if control is None
            else [70 + gain + self.rho * (control - 70) + sqrt(1 - self.rho**2) * own]
            for seed, control, own in zip(seeds, shared, noise, strict=True)
        }

    def expectation(self, *losses: dict[int, list[float]]) -> Expectation:
        return Expectation.estimate(
            {seed: [final] for seed, final in self.controls.items()},
            [
                Pair(str(number), seed, accuracy)
                for number, runs in enumerate(losses)
                for seed, accuracy in runs.items()
            ],
        )


def simulate(rho: float, gain: float, seeds: range, others: int) -> Iterator[Gain]:
    """The gain that each of many studies finds, with so many other losses on the same seeds."""
    rng = np.random.default_rng(1)
    for _ in range(STUDIES):
        study = Simulated(rng, rho)
        mine = study.runs(gain, seeds)
        rest = [study.runs(rng.normal(0, 1), seeds) for _ in range(others)]
        yield study.expectation(mine, *rest).gain(mine)


PAIRED, UNPAIRED = range(3), range(100, 103)


@pytest.mark.parametrize(
    ("rho", "seeds", "others"),
    [
        (0.5, PAIRED, 0),
        (0.5, PAIRED, 6),
        (0.6, range(CONTROLS), 3),
        (0.5, UNPAIRED, 0),
        (0.5, UNPAIRED, 6),
    ],
)
def test_the_standard_error_and_the_interval_hold(rho: float, seeds: range, others: int) -> None:
    gains = list(simulate(rho, 0.7, seeds, others))
    errors = np.array([gain.mean - 0.7 for gain in gains])
    claimed = sqrt(np.mean([gain.standard_error**2 for gain in gains]))
    assert abs(errors.mean()) < 3 * errors.std() / sqrt(STUDIES)
    assert errors.std() == pytest.approx(claimed, rel=3 / sqrt(2 * STUDIES))
    covered = np.mean([low <= 0.7 <= high for low, high in (g.interval() for g in gains)])
    assert covered == pytest.approx(0.95, abs=THREE_SIGMA)


def test_where_much_is_shared_the_error_is_rather_too_large() -> None:
    gains = list(simulate(0.9, 0.7, PAIRED, 4))
    covered = np.mean([low <= 0.7 <= high for low, high in (g.interval() for g in gains)])
    assert covered > 0.95 - THREE_SIGMA


def test_a_test_of_no_gain_is_seldom_wrong() -> None:
    wrong = np.mean([gain.p_value <= 0.025 for gain in simulate(0.5, 0.0, PAIRED, 2)])
    assert wrong == pytest.approx(0.025, abs=3 * sqrt(0.025 * 0.975 / STUDIES))


def test_pairing_pays_where_noise_is_shared() -> None:
    paired, unpaired = (
        np.std([gain.mean for gain in simulate(0.9, 0.0, seeds, 4)])
        for seeds in (PAIRED, UNPAIRED)
    )
    assert paired < 0.6 * unpaired


def test_the_smallest_gain_found_is_found_in_four_cases_of_five() -> None:
    freedom, error = 14, 0.3
    true = Gain(0.0, error, freedom).smallest_found()
    rng = np.random.default_rng(21)
    means = true + error * rng.normal(0, 1, 4000)
    errors = error * np.sqrt(rng.chisquare(freedom, 4000) / freedom)
    found = np.mean(
        [Gain(m, e, freedom).p_value <= 0.025 for m, e in zip(means, errors, strict=True)]
    )
    assert found == pytest.approx(0.8, abs=0.025)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.9])
def test_rho_is_recovered_from_many_pairs(rho: float) -> None:
    study = Simulated(np.random.default_rng(22), rho)
    losses = [study.runs(0.0, range(CONTROLS)) for _ in range(300)]
    expectation = study.expectation(*losses)
    assert expectation.rho_E[0] == pytest.approx(rho, abs=0.05)
    assert expectation.residual_E[0] == pytest.approx(sqrt(1 - rho**2), abs=0.05)


def test_without_pairs_rho_is_where_it_starts() -> None:
    study = Simulated(np.random.default_rng(23), 0.9)
    expectation = study.expectation()
    assert expectation.rho_E[0] == pytest.approx(PRIOR_RHO)
    assert expectation.freedom == CONTROLS - 1


def test_more_pairs_move_rho_further() -> None:
    study = Simulated(np.random.default_rng(24), 1.0)
    losses = [study.runs(0.0, range(CONTROLS)) for _ in range(20)]
    rhos = [study.expectation(*losses[:many]).rho_E[0] for many in (0, 1, 3, 20)]
    assert rhos == sorted(rhos)
    # The start is worth PRIOR_PAIRS pairs; eight runs of a loss are worth seven.
    worth = CONTROLS - 1
    assert rhos[1] == pytest.approx((PRIOR_RHO * PRIOR_PAIRS + worth) / (PRIOR_PAIRS + worth))
    assert rhos[-1] > 0.95


@pytest.mark.parametrize(
    "pairs",
    [
        [Pair("a", 1, [99.0])],  # one seed shows no moving together
        [Pair("a", 77, [99.0]), Pair("a", 78, [1.0])],  # seeds without controls
        [Pair("a", 1, [99.0]), Pair("b", 2, [1.0])],  # two losses of one seed each
    ],
)
def test_runs_that_cannot_be_paired_say_nothing_of_rho(pairs: list[Pair]) -> None:
    controls = {1: [70.0], 2: [72.0]}
    alone, beside = Expectation.estimate(controls), Expectation.estimate(controls, pairs)
    assert beside.rho_E == alone.rho_E
    assert beside.freedom == alone.freedom


@pytest.mark.parametrize(("sign", "expected"), [(1, 1.0), (-1, 0.0)])
def test_rho_stays_between_nothing_and_everything(sign: int, expected: float) -> None:
    controls = {seed: [70.0 + seed] for seed in range(8)}
    pairs = [
        Pair(str(loss), seed, [50.0 + sign * 3 * seed]) for loss in range(20) for seed in controls
    ]
    assert Expectation.estimate(controls, pairs).rho_E[0] == expected


def test_the_same_runs_gain_nothing_whatever_rho() -> None:
    study = Simulated(np.random.default_rng(25), 0.5)
    same = {seed: [final] for seed, final in study.controls.items()}
    gain = study.expectation(same).gain(same)
    assert gain.mean == pytest.approx(0, abs=1e-12)
    assert gain.p_value == pytest.approx(0.5)


def test_the_same_runs_on_some_seeds_gain_less_the_more_is_shared() -> None:
    study = Simulated(np.random.default_rng(26), 0.5)
    same = {seed: [final] for seed, final in study.controls.items()}
    some = {seed: same[seed] for seed in range(3)}
    little, much = study.expectation(), study.expectation(*[same] * 30)
    assert abs(much.gain(some).mean) < 0.1 * abs(little.gain(some).mean)
    assert much.gain(some).standard_error < little.gain(some).standard_error


def test_a_case_worked_by_hand() -> None:
    """Two controls of 70 and 74: mean 72, variance 8; no pairs, so rho is a half.

    residual**2 = 8 * (1 - 1/4) = 6. A run of 76 on the second seed was expected at
    72 + 1/2 * (74 - 72) = 73. The gain's variance is 6 / 1 + (1/2)**2 * 8 / 2 = 7.
    """
    expectation = Expectation.estimate({1: [10, 70], 2: [10, 74]})
    assert expectation.rho_E[-1] == pytest.approx(0.5)
    assert expectation.residual_E[-1] == pytest.approx(sqrt(6))
    assert expectation.gains(2, [9, 76]) == pytest.approx([-1, 3])
    gain = expectation.gain({2: [9, 76]})
    assert (gain.mean, gain.standard_error, gain.freedom) == pytest.approx((3, sqrt(7), 1))
    # On a seed without a control: against the mean, and nothing is shared.
    gain = expectation.gain({3: [9, 76]})
    assert (gain.mean, gain.standard_error, gain.freedom) == pytest.approx((4, sqrt(8 + 4), 1))
    # A pruner in the second epoch of the second seed: one ended seed and one running.
    assert expectation.noise(1, 1) == pytest.approx(sqrt(6 + 6) / 2)
    assert expectation.noise(0, 0) == pytest.approx(0)


def test_a_run_is_compared_epoch_by_epoch_as_far_as_it_went() -> None:
    expectation = Expectation.estimate({1: [10, 20, 30], 2: [10, 20, 30]})
    assert expectation.gains(1, [11]) == pytest.approx([1])
    assert expectation.gains(1, [11, 22]) == pytest.approx([1, 2])


@pytest.mark.parametrize(("seeds", "expected"), [(PAIRED, CONTROLS - 1 + 2), (UNPAIRED, 7)])
def test_unpaired_the_error_rests_on_the_controls_alone(seeds: range, expected: int) -> None:
    study = Simulated(np.random.default_rng(27), 0.5)
    expectation = study.expectation(study.runs(0.0, PAIRED))  # one loss: two more degrees
    assert expectation.gain(study.runs(0.0, seeds)).freedom == expected


@pytest.mark.parametrize("controls", [{}, {1: [70.0]}])
def test_one_control_is_none(controls: dict[int, list[float]]) -> None:
    with pytest.raises(
        ValueError, match=f"controls must be at least two runs but got {len(controls)}"
    ):
        Expectation.estimate(controls)


def test_an_interval_is_students() -> None:
    low, high = Gain(1.0, 0.5, 4).interval()
    assert (low, high) == pytest.approx((1 - 2.776 * 0.5, 1 + 2.776 * 0.5), abs=1e-3)
    assert Gain(1.0, 0.5, 4).interval(0.5)[0] > low


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        (Gain(0, 1, 10), 0.5),
        (Gain(2.228, 1, 10), 0.025),  # Student's table
        (Gain(-2.228, 1, 10), 0.975),
        (Gain(1, 0, 10), 0.0),
        (Gain(0, 0, 10), 1.0),
    ],
)
def test_a_p_value_is_one_sided(gain: Gain, expected: float) -> None:
    assert gain.p_value == pytest.approx(expected, abs=1e-4)


def test_the_mean_of_one_gain_is_itself() -> None:
    gain = Gain(1.2, 0.3, 9)
    mean = mean_gain([gain])
    assert (mean.mean, mean.standard_error, mean.freedom) == pytest.approx((1.2, 0.3, 9))


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([Gain(1, 0.3, 9), Gain(3, 0.3, 9)], Gain(2, 0.3 / sqrt(2), 18)),
        ([Gain(1, 0.3, 9), Gain(3, 0.4, 5)], Gain(2, 0.25, 625 / (81 / 9 + 256 / 5))),
        ([Gain(1, 0.3, 9), Gain(3, 0.0, 5)], Gain(2, 0.15, 9)),
        ([Gain(1, 0.0, 9), Gain(3, 0.0, 9)], Gain(2, 0.0, 9)),
    ],
)
def test_the_mean_over_benchmarks_is_welchs(gains: list[Gain], expected: Gain) -> None:
    mean = mean_gain(gains)
    assert mean.mean == pytest.approx(expected.mean)
    assert mean.standard_error == pytest.approx(expected.standard_error)
    assert mean.freedom == pytest.approx(expected.freedom)


def test_the_power_at_the_smallest_gain_grows_with_the_seeds() -> None:
    assert Gain(0, 0.3, 30).smallest_found() < Gain(0, 0.3, 5).smallest_found()
    assert Gain(0, 0.3, 1e9).smallest_found() == pytest.approx(
        0.3 * (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)), rel=1e-4
    )
