from __future__ import annotations

from dataclasses import replace

import pytest

from losses import published
from studies.claims import Claim, verdict
from studies.scales import gradient_scale, scale_verdict, scaled

LOSSES = published()
FOCAL = LOSSES["focal"]
CLAIM = Claim(
    trial=3,
    loss=FOCAL.id,
    seeds=[42, 123, 456],
    epochs={"resnet8-digits": 2},
    losses=[FOCAL.id, LOSSES["cross_entropy"].id],
)


@pytest.fixture
def pick(evaluated):
    """The claim's pick, whose gradients are longer than cross-entropy's."""

    def make(ratios=(1.5, 1.9375), **key):
        made = evaluated(FOCAL, [86, 84, 85], trial=3, **key)
        for each in made:
            each.run.curves["gradient_ratio"] = list(ratios)
        return made

    return make


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [((1.5, 1.9375), 1.72), ((2.0, None), 2.0), ((None, None), None), ((), None)],
)
def test_the_scale_is_the_mean_over_epochs(pick, ratios, expected) -> None:
    assert gradient_scale([each.run for each in pick(ratios)]) == expected


def test_runs_from_before_the_measure_have_no_scale(evaluated) -> None:
    assert gradient_scale([each.run for each in evaluated(FOCAL, [86, 84, 85])]) is None


@pytest.mark.parametrize(
    ("finals", "shown", "start"),
    [
        ([81, 79, 80], True, "more than a learning rate: +5.00 points"),
        ([85, 84.6, 85.2], False, "not shown to be more than a learning rate: +0.07 points"),
        ([87, 85, 86], False, "a learning rate does as well: -1.00 points"),
    ],
)
def test_a_learning_rate_in_disguise_is_called_one(
    controls, evaluated, pick, finals, shown, start
) -> None:
    board = controls() + pick() + evaluated(scaled(1.72), finals)
    found = scale_verdict(board, CLAIM)
    assert found.shown is shown
    assert found.words.startswith(start)
    assert found.words.endswith("over cross-entropy x1.72")
    # The primary claim does not rest on runs that were not named beforehand.
    assert verdict(board, CLAIM) == verdict(controls() + pick(), CLAIM)


def test_nothing_is_said_before_every_run_is_there(controls, evaluated, pick) -> None:
    whole = controls() + pick()
    assert scale_verdict(whole, CLAIM) is None
    assert scale_verdict(whole + evaluated(scaled(1.72), [81, 79]), CLAIM) is None
    assert scale_verdict(whole + evaluated(scaled(2.0), [81, 79, 80]), CLAIM) is None


def test_every_benchmark_has_a_scale_of_its_own(controls, evaluated, pick) -> None:
    other = {"benchmark": "resnet20-cifar10"}
    claim = replace(CLAIM, epochs={"resnet8-digits": 2, "resnet20-cifar10": 2})
    one = controls() + pick() + evaluated(scaled(1.72), [81, 79, 80])
    assert scale_verdict(one, claim) is None
    both = one + controls(**other) + pick((3.0, 3.0), **other)
    both += evaluated(scaled(3.0), [83, 81, 82], **other)
    found = scale_verdict(both, claim)
    assert found.gain.mean == pytest.approx((5 + 3) / 2)
    assert "(x1.72 on resnet8-digits, x3 on resnet20-cifar10)" in found.words
