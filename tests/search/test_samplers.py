import optuna
import pytest

from search.samplers import make_sampler
from search.space import suggest


def draws(definition, told: int) -> list[dict[str, float]]:
    """What each trial draws when the study is left and opened again before every trial."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, direction="maximize", study_name="s")
    drawn = []
    for number in range(told):
        study = optuna.load_study(study_name="s", storage=storage)
        trial = study.ask()
        study.sampler = make_sampler(definition, trial.number)
        suggest(trial, definition.space, definition.search.epochs)
        drawn.append(trial.params)
        study.tell(trial, -abs(trial.params["m"] - number % 3))
    return drawn


@pytest.mark.parametrize("name", ["tpe", "qmc", "random"])
def test_a_trial_draws_the_same_whenever_it_is_asked_for(tiny, name):
    definition = tiny.model_copy(
        update={"sampler": tiny.sampler.model_copy(update={"name": name})}
    )
    assert draws(definition, 8) == draws(definition, 8)


def test_another_seed_of_the_study_draws_other_losses(tiny):
    other = tiny.model_copy(update={"search": tiny.search.model_copy(update={"seed": 1})})
    assert draws(tiny, 2) != draws(other, 2)


def test_tpe_learns(tiny):
    study = optuna.create_study(direction="maximize")
    for number in range(40):
        trial = study.ask()
        study.sampler = make_sampler(tiny, number)
        suggest(trial, tiny.space, tiny.search.epochs)
        study.tell(trial, -abs(trial.params["m"] - 2.5))
    late = [trial.params["m"] for trial in study.trials[-10:]]
    assert sum(abs(m - 2.5) for m in late) / 10 < 0.5  # at random: 1.1


@pytest.mark.parametrize("sequence", ["sobol", "halton"])
def test_qmc_fills_the_space_evenly(tiny, sequence):
    sampler = tiny.sampler.model_copy(update={"name": "qmc", "sequence": sequence})
    drawn = [each["m"] for each in draws(tiny.model_copy(update={"sampler": sampler}), 33)[1:]]
    counts = [sum(k <= m / 3 * 8 < k + 1 for m in drawn) for k in range(8)]
    assert min(counts) >= 3  # of 32 draws in 8 equal parts; at random one in 300 is this even
