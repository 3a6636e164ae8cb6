import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from search.pruning import PairedPruner, WarmupPruner, make_pruner

EPOCHS, SEEDS = 4, 2
STEPS = EPOCHS * SEEDS


def study_with(*curves: list[float]) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    for curve in curves:
        study.add_trial(
            create_trial(
                value=curve[-1],
                params={"x": 0.5},
                distributions={"x": FloatDistribution(0, 1)},
                intermediate_values=dict(enumerate(curve)),
            )
        )
    return study


def running(curve: list[float]) -> optuna.trial.FrozenTrial:
    return create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(curve)))


def flat(gain: float) -> list[float]:
    return [gain] * STEPS


def pruner(noise: float = 0.1, confidence: float = 0.9) -> PairedPruner:
    return PairedPruner(lambda step: noise, confidence=confidence, seeds=SEEDS, epochs=EPOCHS)


@pytest.mark.parametrize(
    ("gain", "noise", "pruned"),
    [
        (-1.0, 0.1, True),
        (0.45, 0.1, True),
        (0.95, 0.1, False),  # within the noise of the best
        (-1.0, 5.0, False),  # nothing is far where noise is large
        (2.0, 0.1, False),
    ],
)
def test_a_trial_is_given_up_when_it_will_hardly_be_the_best(gain, noise, pruned):
    rivals = study_with(flat(1.0), flat(0.5), flat(0.0))
    assert pruner(noise).prune(rivals, running(flat(gain)[:EPOCHS])) == pruned


@pytest.mark.parametrize(("gain", "pruned"), [(-9.0, True), (-0.05, False), (0.5, False)])
def test_before_any_trial_is_complete_cross_entropy_is_the_best(gain, pruned):
    assert pruner().prune(study_with(), running(flat(gain)[:EPOCHS])) == pruned
    losing = study_with(flat(-2.0), flat(-3.0))
    assert pruner().prune(losing, running(flat(gain)[:EPOCHS])) == pruned


def curves(tells: bool) -> list[list[float]]:
    """Ten trials whose gains after the second epoch say where they end, or nothing."""
    ends = np.linspace(-1, 1, 10)
    seconds = 3 * ends if tells else 3 * ends[[5, 0, 7, 3, 9, 1, 4, 8, 2, 6]]
    return [
        [float(second), float(second), *[float(end)] * (STEPS - 2)]
        for second, end in zip(seconds, ends, strict=True)
    ]


@pytest.mark.parametrize("tells", [True, False])
def test_a_gain_counts_for_what_it_has_told_of_the_end(tells):
    behind = running([-3.0, -3.0])
    assert pruner(noise=0.5).prune(study_with(*curves(tells)), behind) == tells


def test_a_gain_never_counts_against_a_loss():
    backwards = [[-3 * end, -3 * end, *[end] * (STEPS - 2)] for end in (-1.0, -0.5, 0.5, 1.0)]
    assert not pruner(noise=0.5).prune(study_with(*backwards), running([6.0, 6.0]))


@pytest.mark.parametrize(("noise", "pruned"), [(0.01, True), (20.0, False)])
def test_two_trials_prove_little_where_noise_is_large(noise, pruned):
    rivals = study_with([2.0, 2.0, *[1.0] * 6], [-2.0, -2.0, *[-1.0] * 6])
    paired = PairedPruner(
        lambda step: noise if step < EPOCHS - 1 else 0.05,
        confidence=0.9,
        seeds=SEEDS,
        epochs=EPOCHS,
    )
    assert paired.prune(rivals, running([-5.0, -5.0])) == pruned


def test_the_noise_of_a_running_seed_leaves_the_ended_ones_their_weight():
    # The mean over seeds, as reported, falls when a good loss begins its next seed far behind.
    begins = [1.0] * EPOCHS + [-4.0]
    rivals = study_with(*[flat(gain) for gain in (0.9, 0.5, 0.0, -0.5)])

    def noise(step: int) -> float:
        return 0.1 if (step + 1) % EPOCHS == 0 else 10.0

    paired = PairedPruner(noise, confidence=0.6, seeds=SEEDS, epochs=EPOCHS)
    assert not paired.prune(rivals, running(begins))
    assert paired.prune(rivals, running([-1.0] * EPOCHS + [-4.0]))


def test_it_gives_up_few_that_are_as_good_as_what_they_are_compared_with():
    draw = np.random.default_rng(0).normal

    def curve(steps: int) -> list[float]:
        first, second = 3 + draw(size=2)
        return ([float(first)] * EPOCHS + [float(first + second) / 2] * EPOCHS)[:steps]

    mistakes = sum(
        pruner(noise=1.0, confidence=0.9).prune(study_with(curve(STEPS)), running(curve(EPOCHS)))
        for _ in range(200)
    )
    # 20 of a perfect comparison; one rival and cross-entropy leave the regression little to go by.
    assert 0 < mistakes <= 60


def test_trials_that_lack_what_the_trial_has_reported_are_no_rivals():
    behind = running(flat(0.5)[:EPOCHS])
    assert not pruner().prune(study_with([5.0]), behind)
    assert pruner().prune(study_with(flat(5.0)), behind)


@pytest.mark.parametrize(
    ("steps", "asked"), [(1, False), (3, False), (4, True), (5, False), (7, False), (8, True)]
)
def test_every_seed_has_its_warm_up(steps, asked):
    class Always(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return True

    warm = WarmupPruner(Always(), epochs=EPOCHS, warmup=3)
    assert warm.prune(study_with(), running([0.0] * steps)) == asked


def test_a_trial_without_reports_goes_on():
    trial = running([])
    assert not pruner().prune(study_with(flat(0.0)), trial)
    assert not WarmupPruner(optuna.pruners.NopPruner(), epochs=4, warmup=0).prune(
        study_with(), trial
    )


def test_the_definition_chooses(tiny):
    assert isinstance(make_pruner(tiny, lambda step: 1.0), WarmupPruner)
    none = tiny.model_copy(update={"pruner": tiny.pruner.model_copy(update={"name": "none"})})
    assert isinstance(make_pruner(none, lambda step: 1.0), optuna.pruners.NopPruner)
