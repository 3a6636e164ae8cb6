import copy
import math
import pickle

import pytest
import torch

from losses import LossError, LossSpec, Schedule, published
from losses.spec import progress

WARM_UP = {"shape": "switch", "start": 0.0, "end": 2.0, "at": 0.25}


def with_parameters(**parameters):
    return LossSpec(parameters=parameters)


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        (with_parameters(), LossSpec("focal", {})),
        (with_parameters(gamma=2.0), LossSpec("focal", {"gamma": 2})),
        (with_parameters(gamma=2.0, eps=0.1), with_parameters(eps=0.1, gamma=2.0)),
        (with_parameters(gamma=2.0), with_parameters(gamma=2.0, eps=0, tau=1, m=-0.0, scale=1)),
        (with_parameters(gamma=2.0), with_parameters(gamma=Schedule("linear", 2, 2))),
        (with_parameters(), with_parameters(tau=Schedule("switch", 1, 1, at=0.5))),
        (with_parameters(gamma=WARM_UP), with_parameters(gamma=Schedule("switch", 0, 2, at=0.25))),
        (with_parameters(gamma=2.0), LossSpec("composite", {"gamma": 2.0}, class_scaled=True)),
        (with_parameters(), LossSpec("squentropy", {"c": 0})),
        (with_parameters(), LossSpec("asymmetric", {"gp": 0, "gn": Schedule("linear", 0, 0)})),
        (with_parameters(), LossSpec("tempered", {"t1": 1, "t2": 1.0}, class_scaled=True)),
        (LossSpec("tempered", {"t1": 0.8}), LossSpec("tempered", {"t1": 0.8, "t2": 1})),
        (LossSpec("ngl", {"alpha": 2}), LossSpec("ngl", {"alpha": 2}, class_scaled=True)),
    ],
)
def test_two_specs_of_one_loss_are_equal(spec, same):
    assert spec == same
    assert hash(spec) == hash(same)
    assert spec.id == same.id
    assert spec.to_json() == same.to_json()


@pytest.mark.parametrize(
    "other",
    [
        with_parameters(tau=1.5),
        with_parameters(m=1.5),
        LossSpec("composite", {"tau": 1.5}, class_scaled=True),
        with_parameters(tau=Schedule("linear", 1.5, 1)),
        with_parameters(tau=Schedule("linear", 1, 1.5)),
        with_parameters(tau=Schedule("cosine", 1, 1.5)),
        LossSpec("logit_norm", {"tau": 1.5}),
    ],
)
def test_two_losses_are_not_equal(other):
    spec = with_parameters(tau=math.nextafter(1.5, 2))
    assert spec != other
    assert spec.id != other.id


@pytest.mark.parametrize(
    ("spec", "json_text", "identity"),
    [
        (LossSpec(), '{"family":"composite","parameters":{}}', "69c420e9f1b6"),
        (
            with_parameters(lam=1e-5, gamma=2),
            '{"family":"composite","parameters":{"gamma":2.0,"lam":1e-05}}',
            "5deb1dcbd8b6",
        ),
        (
            LossSpec("margin", {"m": WARM_UP}, class_scaled=True),
            '{"class_scaled":true,"family":"composite","parameters":{"m":'
            '{"at":0.25,"end":2.0,"shape":"switch","start":0.0}}}',
            "77ac5d01eea8",
        ),
        (
            LossSpec("active_passive", {"b": 0, "a": 1}),
            '{"family":"active_passive","parameters":{"a":1.0,"b":0.0}}',
            "cf2737200c32",
        ),
    ],
)
def test_the_canonical_text_and_the_id_never_change(spec, json_text, identity):
    assert spec.to_json() == json_text
    assert spec.id == identity
    assert LossSpec.from_json(json_text) == spec


def test_a_spec_cannot_be_changed_but_copied_and_sent():
    spec = with_parameters(gamma=WARM_UP)
    with pytest.raises(TypeError):
        spec.parameters["gamma"] = 1.0
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert copy.deepcopy(spec) == spec


@pytest.mark.parametrize(
    ("family", "parameters", "message"),
    [
        ("softmax", {}, "unknown family 'softmax': choose one of composite, margin, temperature"),
        (["focal"], {}, "unknown family ['focal']"),
        ("composite", {"alpha": 1}, "unknown parameter 'alpha' of family 'composite': choose one"),
        ("composite", {1: 1.0}, "unknown parameter 1 of family 'composite'"),
        ("focal", {"eps": 0.1}, "unknown parameter 'eps' of family 'focal': choose one of gamma"),
        ("composite", [], "parameters must be an object but got []"),
        ("composite", {"gamma": True}, "gamma must be a number but got True"),
        ("composite", {"gamma": "2"}, "gamma must be a number but got '2'"),
        ("composite", {"gamma": None}, "gamma must be a number but got None"),
        ("composite", {"gamma": math.nan}, "gamma must be finite but got nan"),
        ("composite", {"gamma": -math.inf}, "gamma must be finite but got -inf"),
        ("composite", {"gamma": 10**5000}, "gamma must be finite but got a number too large"),
        ("composite", {"gamma": -0.1}, "gamma must be at least 0 but got -0.1"),
        ("composite", {"tau": 0}, "tau must be above 0 but got 0.0"),
        ("composite", {"eps": 1}, "eps must be at least 0 and below 1 but got 1.0"),
        ("composite", {"kappa": 1.1}, "kappa must be at least 0 and at most 1 but got 1.1"),
        ("composite", {"a1": -1}, "a1 must be above -1 but got -1.0"),
        ("composite", {"scale": 0}, "scale must be above 0 but got 0.0"),
        (
            "composite",
            {"scale": Schedule("linear", 1, 2)},
            "scale must be a number, never a sched",
        ),
        ("composite", {"eps": Schedule("linear", 0, 1)}, "eps must be at least 0 and below 1 but"),
        ("composite", {"eps": {"shape": "linear"}}, "eps: a schedule needs the key 'end'"),
        ("composite", {"eps": WARM_UP | {"shape": "step"}}, "eps: unknown shape 'step'"),
        (
            "active_passive",
            {"a": 1.0},
            "family 'active_passive' needs the parameter 'b', at least 0, but got {'a': 1.0}",
        ),
        ("logit_norm", {}, "family 'logit_norm' needs the parameter 'tau', above 0, but got {}"),
        ("taylor", {}, "family 'taylor' needs the parameter 'th0', any finite number, but got {}"),
        ("tempered", {"t1": 1.1}, "t1 must be at least 0 and at most 1 but got 1.1"),
        ("tempered", {"t2": 0.9}, "t2 must be at least 1 but got 0.9"),
        ("sigmoid", {"a": 1, "scale": 2}, "unknown parameter 'scale' of family 'sigmoid': choose"),
    ],
)
def test_what_a_spec_refuses(family, parameters, message):
    with pytest.raises(LossError) as error:
        LossSpec(family, parameters)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a loss must be JSON but got ''"),
        ("gamma: 2", "a loss must be JSON but got 'gamma: 2'"),
        ("[]", "a loss must be an object but got []"),
        ("{}", "a loss needs the key 'family'"),
        ('{"family": "composite", "gamma": 2}', "unknown key 'gamma' of a loss: choose one of"),
        ('{"family": "composite", "class_scaled": 1}', "class_scaled must be a bool but got 1"),
        (
            '{"family": "composite", "parameters": null}',
            "parameters must be an object but got None",
        ),
        (
            '{"family": "focal", "parameters": {"gamma": NaN}}',
            "must have finite numbers but got NaN",
        ),
        (
            '{"family": "focal", "parameters": {"gamma": 1e999}}',
            "gamma must be finite but got inf",
        ),
        ('{"family": "focal", "family": "focal"}', "a loss has the key 'family' twice"),
        ('{"family": "\\ud800\\n"}', "unknown family '\\ud800\\n'"),
        (f'{{"family": {"9" * 5000}}}', "a loss must be JSON but got"),
        ("[" * 100_000, "a loss is nested too deep: '[[["),
        ('{"family": ' * 100_000, "a loss is nested too deep"),
    ],
)
def test_what_json_text_is_refused(text, message):
    with pytest.raises(LossError) as error:
        LossSpec.from_json(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("epoch", "total_epochs", "expected"), [(0, 1, 0), (0, 200, 0), (50, 101, 0.5), (199, 200, 1)]
)
def test_progress(epoch, total_epochs, expected):
    assert progress(epoch, total_epochs) == expected


@pytest.mark.parametrize(("epoch", "total_epochs"), [(-1, 5), (5, 5), (0, 0)])
def test_an_epoch_is_one_of_the_training(epoch, total_epochs):
    with pytest.raises(LossError, match=f"epoch must be at least 0 and below {total_epochs}"):
        progress(epoch, total_epochs)


def test_values_follow_their_schedules_in_the_order_of_the_family():
    spec = with_parameters(gamma=Schedule("linear", 0, 2), eps=0.1, kappa=WARM_UP | {"end": 0.5})
    assert list(spec.values_at(0.5).items()) == [("eps", 0.1), ("gamma", 1.0), ("kappa", 0.5)]
    assert spec.values(epoch=0, total_epochs=5, num_classes=10) == (0.1, 0.0, 0.0)
    assert spec.structure == ("composite", ("eps", "gamma", "kappa"))


def test_what_has_no_neutral_value_is_never_dropped():
    spec = LossSpec("taylor", dict.fromkeys([f"th{i}" for i in range(8)], 0.0))
    assert spec.structure == ("taylor", tuple(f"th{i}" for i in range(8)))
    assert spec.values(epoch=0, total_epochs=1, num_classes=10) == (0.0,) * 8


def test_class_scaling_changes_nothing_at_100_classes():
    parameters = {"m": Schedule("linear", 1, 2), "tau": 1.5, "eps": 0.1}
    scaled = LossSpec("composite", parameters, class_scaled=True)
    assert scaled.values_at(0.5, 100) == LossSpec("composite", parameters).values_at(0.5, 100)
    assert scaled.values_at(0.5, 10) == pytest.approx({"m": 0.75, "tau": 1.5**0.5, "eps": 0.1})


def test_the_structure_depends_on_terms_and_not_on_values():
    assert with_parameters(gamma=2.0).structure == with_parameters(gamma=WARM_UP).structure
    assert with_parameters(gamma=2.0).structure != with_parameters(kappa=0.5).structure
    assert len({with_parameters(gamma=g).structure for g in (1.0, 2.0, 3.0)}) == 1


def test_the_three_ways_to_compute_a_loss_agree():
    spec = LossSpec("composite", {"m": WARM_UP, "tau": 1.5, "gamma": 2.0}, class_scaled=True)
    logits_BK, labels_B = torch.randn(8, 10), torch.arange(8)
    config = {"num_classes": 10, "epoch": 2, "total_epochs": 5}
    loss_B = spec.per_example(logits_BK, labels_B, progress=0.5)
    values_P = torch.tensor(spec.values(2, 5, 10))
    torch.testing.assert_close(spec(logits_BK, labels_B, values_P), loss_B)
    torch.testing.assert_close(spec.compute_loss(logits_BK, labels_B, config), loss_B.mean())


def test_cross_entropy_has_no_values():
    logits_BK, labels_B = torch.randn(8, 10), torch.arange(8)
    loss_B = published()["cross_entropy"](logits_BK, labels_B, torch.empty(0))
    assert torch.equal(loss_B, LossSpec().per_example(logits_BK, labels_B, progress=0.0))
