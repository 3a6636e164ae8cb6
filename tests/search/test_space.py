import optuna
import pytest

from losses import LossSpec, Schedule, families, published
from search.space import point, shapes, suggest
from studies.definition import Space

EVERYTHING = Space(family="composite", schedules=["gamma", "eps", "tau"])


def drawn(space: Space, epochs: int, seed: int) -> tuple[optuna.Trial, LossSpec]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    return trial, suggest(trial, space, epochs)


@pytest.mark.parametrize("seed", range(20))
def test_point_undoes_suggest(seed):
    trial, spec = drawn(EVERYTHING, 15, seed)
    assert point(spec, EVERYTHING, 15) == trial.params


@pytest.mark.parametrize("seed", range(20))
def test_draws_lie_in_the_searched_ranges(seed):
    _, spec = drawn(EVERYTHING, 15, seed)
    for name, value in spec.parameters.items():
        ends = (value.start, value.end) if isinstance(value, Schedule) else (value,)
        searched = families()["composite"].parameter(name)
        assert all(searched.low <= end <= searched.high for end in ends)
        if isinstance(value, Schedule) and value.shape == "switch":
            assert 1 / 14 <= value.at <= 0.9


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("cross_entropy", True),
        ("label_smoothing", True),
        ("focal", True),
        ("poly1", True),
        ("maxsup", False),  # mu follows a schedule only where the space lets it
        ("symmetric", False),  # its scale is never searched
    ],
)
def test_which_published_losses_a_space_holds(name, inside):
    space = Space(family="composite")
    assert (point(published()[name], space, 15) is not None) == inside


def test_a_smaller_space_holds_less():
    space = Space(family="composite", parameters=["gamma"])
    assert point(published()["focal"], space, 15) == {"gamma": 2.0}
    assert point(published()["poly1"], space, 15) is None


@pytest.mark.parametrize(("epochs", "switch"), [(1, False), (2, False), (3, True), (15, True)])
def test_a_switch_needs_an_epoch_before_and_after(epochs, switch):
    assert ("switch" in shapes(EVERYTHING, "gamma", epochs)) == switch


def test_only_named_parameters_move():
    assert shapes(EVERYTHING, "m", 15) == []
    assert shapes(Space(family="curriculum"), "gamma", 15) != []
    assert shapes(Space(family="curriculum", schedules=[]), "gamma", 15) == []
