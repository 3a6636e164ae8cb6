import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from search.pruning import PairedPruner, WarmupPruner, make_pruner

EPOCHS = 4


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


RIVALS = ([0.0, 1.0], [0.0, 0.5], [0.0, 0.0])


@pytest.mark.parametrize(
    ("gain", "keep", "noise", "pruned"),
    [
        (-1.0, 2, 0.1, True),  # far below the second best
        (0.4, 2, 0.1, False),  # within the noise of it
        (0.4, 1, 0.1, True),  # but not of the best
        (-1.0, 2, 1.0, False),  # nothing is far where noise is large
        (2.0, 1, 0.1, False),
        (-9.0, 4, 0.1, False),  # fewer rivals than places
    ],
)
def test_a_trial_is_given_up_when_it_will_hardly_be_kept(gain, keep, noise, pruned):
    pruner = PairedPruner(lambda step: noise, keep=keep, confidence=0.9)
    assert pruner.prune(study_with(*RIVALS), running([0.0, gain])) == pruned


def test_noise_is_asked_for_at_the_step_reached():
    asked = []

    def noise(step: int) -> float:
        asked.append(step)
        return 0.1

    PairedPruner(noise, keep=1, confidence=0.9).prune(study_with(*RIVALS), running([0.0, -5.0]))
    assert asked == [1]


def test_it_prunes_no_more_often_than_its_confidence_says():
    import numpy as np

    draw = np.random.default_rng(0).normal
    # The trial and its rival are equally good, so each pruning is a mistake.
    mistakes = sum(
        PairedPruner(lambda step: 1.0, keep=1, confidence=0.9).prune(
            study_with([float(draw())]), running([float(draw())])
        )
        for _ in range(400)
    )
    assert 20 <= mistakes <= 64  # 40 expected, 4 standard deviations


@pytest.mark.parametrize(
    ("steps", "asked"), [(1, False), (3, False), (4, True), (5, False), (7, False), (8, True)]
)
def test_every_seed_has_its_warm_up(steps, asked):
    class Always(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return True

    pruner = WarmupPruner(Always(), epochs=EPOCHS, warmup=3)
    assert pruner.prune(study_with(), running([0.0] * steps)) == asked


def test_a_trial_without_reports_goes_on():
    trial = running([])
    assert not PairedPruner(lambda step: 0.1, 1, 0.9).prune(study_with(*RIVALS), trial)
    assert not WarmupPruner(optuna.pruners.NopPruner(), epochs=4, warmup=0).prune(
        study_with(), trial
    )


def test_the_definition_chooses(tiny):
    assert isinstance(make_pruner(tiny, lambda step: 1.0), WarmupPruner)
    none = tiny.model_copy(update={"pruner": tiny.pruner.model_copy(update={"name": "none"})})
    assert isinstance(make_pruner(none, lambda step: 1.0), optuna.pruners.NopPruner)
