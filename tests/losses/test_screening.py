"""What is refused before training and what is not: published, random and broken losses."""

import itertools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from losses import LossSpec, Schedule, families, published
from losses.fingerprint import CLASSES, SAME, Fingerprint, fixed_batch, stages
from losses.screening import cases_of, examine, finite, screen, signal, teaches

EPOCHS = 4


@dataclass(frozen=True)
class Broken:
    """A loss that something is done to."""

    spec: LossSpec
    change: Callable

    def values(self, epoch, total_epochs, num_classes):
        return self.spec.values(epoch, total_epochs, num_classes)

    def per_example(self, logits_BK, labels_B, *, progress):
        loss = partial(self.spec.per_example, progress=progress)
        return self.change(loss, logits_BK, labels_B)


def late(change):
    """Do it at the end of training only."""

    def changed(loss, z, y):
        return change(loss, z, y) if loss.keywords["progress"] == 1 else loss(z, y)

    return changed


def narrow(loss, z, y):
    """Compute in the logits' own type, as a formula without care does."""
    return loss(z, y) - z.softmax(1).gather(1, y[:, None]).squeeze(1).log()


CHANGES = {
    "flat": ("no_signal", lambda loss, z, y: 0 * loss(z, y)),
    "label-free constant": ("no_signal", lambda loss, z, y: 0 * z.sum(1) + 1),
    "vanishing": ("no_signal", lambda loss, z, y: 1e-6 * loss(z, y)),
    "exploding": ("no_signal", lambda loss, z, y: 1e5 * loss(z, y)),
    "inverted": ("does_not_teach", lambda loss, z, y: -loss(z, y)),
    "another's label": ("does_not_teach", lambda loss, z, y: loss(z, y.roll(1))),
    "one label": ("does_not_teach", lambda loss, z, y: loss(z, y * 0)),
    "only the confidence": (
        "does_not_teach",
        lambda loss, z, y: 0 * loss(z, y) - (z.softmax(1) * z.log_softmax(1)).sum(1),
    ),
    "nan": ("not_finite", lambda loss, z, y: loss(z, y) * float("nan")),
    "nan in bfloat16": (
        "not_finite",
        lambda loss, z, y: loss(z, y) * (float("nan") if z.dtype == torch.bfloat16 else 1),
    ),
    "overflow": ("not_finite", lambda loss, z, y: loss(z, y) + 1e-6 * z.exp().sum(1)),
    "in the logits' own type": ("not_finite", narrow),
    "gradient of a root at 0": (
        "not_finite",
        lambda loss, z, y: loss(z, y) + (z.amax(1) - z[:, 0]).sqrt(),
    ),
}

MOVING = LossSpec(parameters={"gamma": Schedule("linear", 0, 2), "eps": 0.1})


def drawn(seed):
    """Return losses from the middle of the composite family's ranges, half of them moving."""
    generator = random.Random(seed)
    family = families()["composite"]

    def value(range_):
        return range_.neutral + generator.uniform(0.05, 0.4) * (range_.high - range_.neutral)

    specs = []
    for moves in (False, True) * 4:
        chosen = generator.sample(family.parameters, 3)
        parameters = {each.name: value(each) for each in chosen}
        if moves:
            name = chosen[0].name
            parameters[name] = Schedule("cosine", parameters[name], chosen[0].neutral)
        specs.append(LossSpec(parameters=parameters))
    return specs


WORKING = [*published().values(), MOVING]


def fingerprint(spec, name="it", epochs=EPOCHS):
    return Fingerprint.of(name, spec, epochs=epochs)


def verdict(loss, **arguments):
    found = screen(fingerprint(loss), **arguments)
    return found and found.kind


@pytest.mark.parametrize("spec", published().values(), ids=published())
def test_no_published_loss_is_refused(spec):
    cases = cases_of(spec, EPOCHS)
    for check in (finite, signal, teaches):
        assert check(spec, cases).passed, check(spec, cases)


def test_losses_from_the_middle_of_the_family_are_not_refused():
    assert [verdict(spec) for spec in drawn(0)] == [None] * 8


def test_broken_losses_are_refused_for_what_is_wrong_with_them():
    """At least 99 of 100, and then for the right reason."""
    broken = [
        (kind, Broken(spec, change)) for spec in WORKING for kind, change in CHANGES.values()
    ]
    broken += [(kind, Broken(MOVING, late(change))) for kind, change in CHANGES.values()]
    verdicts = [(kind, verdict(loss)) for kind, loss in broken]
    missed = [kind for kind, found in verdicts if found is None]
    assert len(verdicts) >= 200
    assert len(missed) <= 0.01 * len(verdicts), missed
    assert sum(kind == found for kind, found in verdicts) >= 0.95 * len(verdicts)


def nearly(value, part):
    """Return a number or a schedule that is a little larger."""
    if isinstance(value, Schedule):
        return Schedule(value.shape, value.start * part, value.end * part, value.at)
    return value * part


def test_what_was_tried_is_refused_in_every_guise():
    specs = [*WORKING, *drawn(0)]
    tried = [fingerprint(spec, str(number)) for number, spec in enumerate(specs)]
    for number, spec in enumerate(specs):
        again = {name: nearly(value, 1 + 1e-5) for name, value in spec.parameters.items()}
        guises = [spec.parameters, again]
        if spec.family == "composite":
            scale = spec.parameters.get("scale", 1.0)
            guises += [spec.parameters | {"scale": 0.01 * scale}, again | {"scale": 30 * scale}]
            guises += [{"gamma": 1e-6, **spec.parameters}]
        for parameters in guises:
            found = screen(fingerprint(LossSpec(spec.family, parameters)), against=tried)
            assert found is not None, parameters
            assert found.kind == "already_tried"
            assert re.match(rf"the same gradients as {number}\b", found.reason)


TAYLOR = {f"th{number}": 0.0 for number in range(8)}

EQUAL = {
    "focal": (
        LossSpec("asymmetric", {"gp": 2.0, "gn": 0.0, "eps": 0.0}),
        LossSpec("focal", {"gamma": 2.0}),
    ),
    "smoothing": (
        LossSpec("asymmetric", {"gp": 0.0, "gn": 0.0, "eps": 0.1}),
        LossSpec("smoothing", {"eps": 0.1}),
    ),
    "1 - p": (
        LossSpec("taylor", {**TAYLOR, "th5": 6.0}),
        LossSpec("composite", {"kappa": 1.0, "scale": 6.0}),
    ),
    # At kappa 1 the surprise is 1 - p, which is the linear term too: 1 + 2 of it, and 3 of it.
    "1 - p in two ways": (
        LossSpec("composite", {"kappa": 1.0, "a1": 2.0}),
        LossSpec("composite", {"kappa": 1.0, "scale": 3.0}),
    ),
}


@pytest.mark.parametrize("pair", EQUAL.values(), ids=EQUAL)
def test_equal_losses_of_different_formulas_are_found(pair):
    one, other = map(fingerprint, pair)
    assert one.spec != other.spec
    assert one.likeness(other) == pytest.approx((0, 1), abs=1e-12)
    assert screen(one, against=[other]).reason == "the same gradients as it"


def test_the_reason_names_the_twin_and_the_factor():
    poly1 = fingerprint(published()["poly1"], "trial 7 (poly1)")
    triple = LossSpec(parameters={"a1": 2.0, "scale": 1.3})
    found = screen(fingerprint(triple), against=[fingerprint(LossSpec(), "another"), poly1])
    assert found.reason == "the same gradients as trial 7 (poly1) but for a factor 1.3"
    found = screen(fingerprint(published()["poly1"]), against=[poly1])
    assert found.reason == "the same gradients as trial 7 (poly1)"


def test_published_losses_are_not_each_other():
    prints = [fingerprint(spec, name, epochs=3) for name, spec in published().items()]
    nearest = min(
        (one.likeness(other).distance, one.name, other.name)
        for one, other in itertools.combinations(prints, 2)
    )
    assert nearest[0] > 10 * SAME, nearest
    assert not any(one.twin([other]) for one, other in itertools.permutations(prints, 2))


@pytest.mark.parametrize("at", [1 / 14, 7 / 14])
def test_an_epoch_of_another_loss_makes_another_loss(at):
    def switched(at):
        return LossSpec(parameters={"gamma": Schedule("switch", 0.0, 2.0, at)})

    one, other, same = (
        fingerprint(switched(each), epochs=15) for each in (at, at + 1 / 14, at - 0.01)
    )
    assert one.likeness(other).distance > SAME
    assert one.twin([other]) is None
    assert one.twin([same]) is not None  # it switches before the same epoch


def test_likeness_is_that_of_the_whole_gradients():
    late = LossSpec(parameters={"gamma": Schedule("switch", 0, 2, 1.0)})  # two epochs of three
    one, other = fingerprint(late, epochs=3), fingerprint(published()["poly1"], epochs=3)

    def whole(spec):
        parts = []
        for epoch in range(3):
            for num_classes in CLASSES:
                logits_BK, labels_B = fixed_batch(num_classes)
                logits_BK = logits_BK.clone().requires_grad_()
                loss_B = spec.per_example(logits_BK, labels_B, progress=epoch / 2)
                loss_B.sum().backward()
                parts.append(logits_BK.grad.flatten())
        return torch.cat(parts)

    a, b = whole(one.spec), whole(other.spec)
    expected = (1 - F.cosine_similarity(a, b, dim=0), a.norm() / b.norm())
    assert one.likeness(other) == pytest.approx(tuple(map(float, expected)), rel=1e-9)


@pytest.mark.parametrize("num_classes", CLASSES)
def test_the_batch_is_fixed(num_classes):
    before = torch.get_rng_state()
    logits_BK, labels_B = fixed_batch(num_classes)
    again_BK, _ = fixed_batch.__wrapped__(num_classes)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(logits_BK, again_BK)
    assert logits_BK.dtype == torch.float64
    assert logits_BK.shape == (1024, num_classes)
    blocks = logits_BK.reshape(4, 256, num_classes)
    for block_BK, deviation in zip(blocks[:3], (0.1, 1, 4), strict=True):
        assert float(block_BK.std()) == pytest.approx(deviation, rel=0.05)
    right = (blocks[3].argmax(1) == labels_B[:256]).double().mean()
    assert float(right) == pytest.approx(0.9, abs=0.03)


def test_a_constant_loss_is_looked_at_once_and_a_moving_one_along_its_way():
    assert stages(LossSpec(), epochs=200) == [(0, 200)]
    assert [case.progress for case in cases_of(LossSpec(), 200)] == [0.0, 0.0]
    moving = {case.progress for case in cases_of(MOVING, 201)}
    assert moving == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert len(cases_of(MOVING, 2)) == 2 * 2
    assert len(cases_of(MOVING, 1)) == 2


def test_the_findings_say_their_figures():
    said = {
        each.kind: each.reason for each in examine(fingerprint(published()["label_smoothing"]))
    }
    assert said["no_signal"] == "the gradient is 0.902 to 0.911 times cross-entropy's"
    assert "to 41 % on 100 classes" in said["does_not_teach"]
    inverted = Broken(MOVING, late(CHANGES["inverted"][1]))
    assert screen(fingerprint(inverted)).reason == (
        "100 steps of gradient descent take the error from 90 % to 100 %, not to half, "
        "on 10 classes at progress 1"
    )
    nan = Broken(LossSpec(), CHANGES["nan in bfloat16"][1])
    assert screen(fingerprint(nan)).reason == "a value is not finite in bfloat16 on 10 classes"


def test_nothing_is_trained_to_find_a_fault():
    """A refusal is cheap: no check after the one that fails is made."""
    made = []

    def watched(loss, z, y):
        made.append(z.shape)
        return loss(z, y) * float("nan")

    screen(fingerprint(Broken(LossSpec(), watched)))
    assert len(made) == 3  # two for the glance, one for the check
