import optuna
import pytest

from losses import LossSpec, Schedule, families, published
from search.samplers import make_sampler
from search.space import point, shapes, suggest
from studies.definition import StudyDefinition
from studies.reading import parse
from studies.space import Space

EVERYTHING = Space(family="composite", schedules=["gamma", "eps", "tau"])

FORMULAS = [name for name, family in families().items() if family.formula == name]

SEVERAL = Space(
    family=[*FORMULAS, "margin"],
    schedules=["composite.gamma", "tempered.t2", "active_passive.a", "sigmoid.a"],
)


def drawn(space: Space, epochs: int, seed: int) -> tuple[optuna.Trial, LossSpec]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    return trial, suggest(trial, space, epochs)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("space", [EVERYTHING, SEVERAL], ids=["one", "several"])
def test_point_undoes_suggest(space, seed):
    trial, spec = drawn(space, 15, seed)
    values = point(spec, space, 15)
    if trial.params.get("family") == "margin":  # which composite holds too
        assert suggest(optuna.trial.FixedTrial(values), space, 15) == spec
    else:
        assert values == trial.params


@pytest.mark.parametrize("name", families())
@pytest.mark.parametrize("seed", range(3))
def test_every_family_can_be_searched_with_every_parameter_moving(name, seed):
    names = [each.name for each in families()[name].parameters]
    space = Space(family=name, schedules=names)
    trial, spec = drawn(space, 15, seed)
    assert {param.split(".")[0] for param in trial.params} == set(names)
    assert point(spec, space, 15) == trial.params


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("space", [EVERYTHING, SEVERAL], ids=["one", "several"])
def test_draws_lie_in_the_searched_ranges(space, seed):
    _, spec = drawn(space, 15, seed)
    for name, value in spec.parameters.items():
        ends = (value.start, value.end) if isinstance(value, Schedule) else (value,)
        searched = families()[spec.family].parameter(name)
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
        ("asymmetric", False),  # its eps is another family's
    ],
)
def test_which_published_losses_a_space_holds(name, inside):
    space = Space(family="composite")
    assert (point(published()[name], space, 15) is not None) == inside


@pytest.mark.parametrize(
    ("family", "parameters", "name", "values"),
    [
        ("composite", ["gamma"], "focal", {"gamma": 2.0}),
        ("composite", ["gamma"], "poly1", None),
        ("tempered", None, "bi_tempered", {"t1": 0.8, "t2": 1.2}),
        ("tempered", None, "cross_entropy", {"t1": 1.0, "t2": 1.0}),
        ("tempered", ["t1"], "bi_tempered", None),
        ("sigmoid", None, "cross_entropy", None),
        ("sigmoid", None, "active_passive", None),  # its a is another family's
        (["focal", "sigmoid"], None, "sigmoid", {"family": "sigmoid", "sigmoid.a": 1.0}),
        (["sigmoid", "focal"], None, "cross_entropy", {"family": "focal", "focal.gamma": 0.0}),
        (["sigmoid", "focal"], None, "ngl", None),
    ],
)
def test_where_a_published_loss_lies(family, parameters, name, values):
    space = Space(family=family, parameters=parameters)
    assert point(published()[name], space, 15) == values


def test_a_published_loss_of_each_family_lies_in_the_space_of_all():
    for name in ("bi_tempered", "active_passive", "asymmetric", "logit_norm", "ngl", "sigmoid"):
        values = point(published()[name], Space(family=FORMULAS), 15)
        assert values["family"] == published()[name].family
        assert {param.split(".")[0] for param in values} == {"family", values["family"]}


@pytest.mark.parametrize(("epochs", "switch"), [(1, False), (2, False), (3, True), (15, True)])
def test_a_switch_needs_an_epoch_before_and_after(epochs, switch):
    assert ("switch" in shapes(EVERYTHING, "gamma", epochs)) == switch


def test_only_named_parameters_move():
    assert shapes(EVERYTHING, "m", 15) == []
    assert shapes(Space(family="curriculum"), "gamma", 15) != []
    assert shapes(Space(family="curriculum", schedules=[]), "gamma", 15) == []
    assert shapes(Space(family=["focal", "curriculum"]), "curriculum.gamma", 15) != []
    assert shapes(Space(family=["focal", "curriculum"]), "focal.gamma", 15) == []


def definition_of(sampler: str) -> StudyDefinition:
    text = f"""
        [search]
        benchmarks = ["resnet8-digits"]
        trials = 40
        epochs = 15
        [space]
        family = {SEVERAL.family}
        schedules = {SEVERAL.schedules}
        [sampler]
        name = "{sampler}"
    """
    return parse(text, source="mine.toml")


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_sampler_finds_its_way_through_all_families(sampler):
    definition = definition_of(sampler)
    study = optuna.create_study(direction="maximize")
    families_drawn = []
    for number in range(40):
        study.sampler = make_sampler(definition, number)
        trial = study.ask()
        spec = suggest(trial, definition.space, 15)
        drawn_from = trial.params["family"]
        prefixes = {name.split(".")[0] for name in trial.params if name != "family"}
        assert prefixes == {drawn_from}
        assert spec.family == families()[drawn_from].formula
        families_drawn.append(drawn_from)
        study.tell(trial, float(drawn_from == "tempered"))
    assert len(set(families_drawn[:10])) >= 4
    late = families_drawn[20:].count("tempered")
    assert (late > 5) == (sampler == "tpe")
