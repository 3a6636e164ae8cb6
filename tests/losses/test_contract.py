"""What every family and every published loss must do."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from losses import LossSpec, Schedule, export, families, published

SHAPES = [Schedule("linear", 0, 1), Schedule("cosine", 0, 1), Schedule("switch", 0, 1, at=0.5)]


def extreme_batch(num_classes, dtype):
    """Return logits of magnitude 1e4 and 0, with labels whose probability is 0, 1 or between."""
    rows = [
        [1e4] + [0.0] * (num_classes - 1),
        [-1e4] + [0.0] * (num_classes - 1),
        [0.0] * (num_classes - 1) + [1e4],
        [1e4] * num_classes,
        [-1e4] * num_classes,
        [0.0] * num_classes,
        [1e4] + [-1e4] * (num_classes - 1),
        [-1e4] + [1e4] * (num_classes - 1),
    ]
    logits_BK = torch.tensor(rows, dtype=dtype, requires_grad=True)
    return logits_BK, torch.zeros(len(rows), dtype=torch.int64)


def point(family, part):
    """Return the spec that stands at one part of the way through each searched range."""
    values = {r.name: r.low + part * (r.high - r.low) for r in family.parameters}
    return LossSpec(family.name, values)


def curriculum(family):
    """Return the spec whose parameters all move over their ranges, each in its own shape."""
    shapes = itertools.cycle(SHAPES)
    return LossSpec(
        family.name,
        {
            r.name: Schedule(s.shape, r.low, r.high, s.at)
            for r, s in zip(family.parameters, shapes, strict=False)
        },
        class_scaled=True,
    )


FORMULAS = {name: family for name, family in families().items() if family.formula == name}
NEUTRAL = {
    name: family
    for name, family in families().items()
    if all(r.neutral is not None for r in family.parameters)
}

SPECS = {
    **{f"{name} middle": point(family, 0.4) for name, family in families().items()},
    **{f"{name} low": point(family, 0.0) for name, family in FORMULAS.items()},
    **{f"{name} high": point(family, 1.0) for name, family in FORMULAS.items()},
    **{f"{name} moving": curriculum(family) for name, family in families().items()},
    **published(),
}

every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
every_family = pytest.mark.parametrize("family", families().values(), ids=families())
every_number_of_classes = pytest.mark.parametrize("num_classes", [2, 100])


@every_family
@every_number_of_classes
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_finite_at_every_corner_of_the_searched_ranges(family, num_classes, dtype):
    logits_BK, labels_B = extreme_batch(num_classes, dtype)
    names = [range_.name for range_ in family.parameters]
    for corner in itertools.product(*((r.low, r.high) for r in family.parameters)):
        values = dict(zip(names, torch.tensor(corner).unbind(), strict=True))
        loss_B = family.per_example(logits_BK, labels_B, **values)
        (gradient_BK,) = torch.autograd.grad(loss_B.sum(), logits_BK)
        assert loss_B.isfinite().all(), corner
        assert gradient_BK.isfinite().all(), corner


@every_spec
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_finite_at_every_progress(spec, progress):
    logits_BK, labels_B = extreme_batch(10, torch.float32)
    loss_B = spec.per_example(logits_BK, labels_B, progress=progress)
    (gradient_BK,) = torch.autograd.grad(loss_B.sum(), logits_BK)
    assert loss_B.isfinite().all()
    assert gradient_BK.isfinite().all()


@pytest.mark.parametrize("family", NEUTRAL.values(), ids=NEUTRAL)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_the_neutral_point_is_cross_entropy(family, as_tensor):
    logits_BK, labels_B = torch.randn(16, 10), torch.arange(16) % 10
    values = {
        r.name: torch.tensor(float(r.neutral)) if as_tensor else r.neutral
        for r in family.parameters
    }
    loss_B = family.per_example(logits_BK, labels_B, **values)
    torch.testing.assert_close(loss_B, F.cross_entropy(logits_BK, labels_B, reduction="none"))
    assert LossSpec(family.name, {r.name: r.neutral for r in family.parameters}) == LossSpec()


@every_family
def test_no_value_is_read_so_that_a_graph_can_be_replayed_with_others(family):
    # A meta tensor has no value: whatever asks for one fails.
    ranges = (*family.parameters, *family.unsearched)
    values = {r.name: torch.empty((), device="meta") for r in ranges}
    logits_BK = torch.empty(4, 10, device="meta", requires_grad=True)
    labels_B = torch.empty(4, dtype=torch.int64, device="meta")
    loss_B = family.per_example(logits_BK, labels_B, **values)
    loss_B.sum().backward()
    assert loss_B.shape == (4,)


@every_spec
def test_the_gradient_is_that_of_the_value(spec):
    generator = torch.Generator().manual_seed(1)
    logits_BK = torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    labels_B = torch.tensor([0, 1, 3])
    assert gradcheck(lambda z: spec.per_example(z, labels_B, progress=0.4), logits_BK)


@every_spec
@every_number_of_classes
def test_each_example_is_on_its_own(spec, num_classes):
    logits_BK, labels_B = 3 * torch.randn(5, num_classes), torch.arange(5) % num_classes
    loss_B = spec.per_example(logits_BK, labels_B, progress=0.4)
    alone_B = [
        spec.per_example(logits_BK[i : i + 1], labels_B[i : i + 1], progress=0.4) for i in range(5)
    ]
    torch.testing.assert_close(loss_B, torch.cat(alone_B))


@every_spec
@every_number_of_classes
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_exported_module_computes_the_same(spec, num_classes, dtype):
    namespace = {}
    exec(export.source(spec), namespace)
    usual_BK = (3 * torch.randn(8, num_classes)).to(dtype)
    extreme_BK, zeros_B = extreme_batch(num_classes, dtype)
    batch = (
        torch.cat([usual_BK, extreme_BK.detach()]).requires_grad_(),
        torch.cat([torch.arange(8) % num_classes, zeros_B]),
    )
    for epoch in range(4):
        config = {"num_classes": num_classes, "epoch": epoch, "total_epochs": 4}
        losses = [loss(*batch, config) for loss in (spec.compute_loss, namespace["compute_loss"])]
        gradients = [torch.autograd.grad(loss, batch[0])[0] for loss in losses]
        torch.testing.assert_close(*losses)
        torch.testing.assert_close(*gradients)


@every_spec
def test_the_values_of_an_epoch_compute_the_same(spec):
    logits_BK, labels_B = torch.randn(8, 10), torch.arange(8)
    for epoch in range(4):
        values_P = torch.tensor(spec.values(epoch, 4, 10))
        expected_B = spec.per_example(logits_BK, labels_B, progress=epoch / 3)
        torch.testing.assert_close(spec(logits_BK, labels_B, values_P), expected_B)


@every_spec
def test_json_says_it_all(spec):
    again = LossSpec.from_json(spec.to_json())
    assert again == spec
    assert again.id == spec.id
    assert again.to_json() == spec.to_json()
