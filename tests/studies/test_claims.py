from __future__ import annotations

import json
from dataclasses import replace

import pytest

from losses import published
from studies.claims import Claim, verdict

LOSSES = published()
CROSS_ENTROPY, FOCAL, POLY1 = (LOSSES[name] for name in ("cross_entropy", "focal", "poly1"))
CLAIM = Claim(trial=3, loss=FOCAL.id, seeds=[42, 123, 456], epochs={"resnet8-digits": 2})


@pytest.mark.parametrize(
    ("finals", "shown", "words"),
    [
        ([86, 84, 85], True, "better than cross-entropy: +5.00 points, 95 % interval"),
        ([81.2, 79.2, 80.2], False, "not shown to differ from cross-entropy: +0.20 points"),
        ([76, 74, 75], False, "not shown to differ from cross-entropy: -5.00 points"),
    ],
)
def test_the_verdict_says_what_is_shown(controls, evaluated, finals, shown, words) -> None:
    found = verdict(controls() + evaluated(FOCAL, finals, trial=3), CLAIM)
    assert found is not None
    assert found.shown is shown
    assert found.words.startswith(words)
    assert "3 seeds" in found.words
    assert ("four cases of five" in found.words) is not shown


def test_better_means_at_most_one_error_in_forty(controls, evaluated) -> None:
    """The gain is moved past the limit and back: nothing else decides."""
    reference = verdict(controls() + evaluated(FOCAL, [81, 79, 80], trial=3), CLAIM)
    assert reference is not None
    low, _ = reference.gain.interval()
    limit = reference.gain.mean - low  # a two-sided 95 % interval leaves 2.5 % below it
    for gain, shown in ((limit - 0.01, False), (limit + 0.01, True)):
        finals = [81 + gain, 79 + gain, 80 + gain]
        found = verdict(controls() + evaluated(FOCAL, finals, trial=3), CLAIM)
        assert found is not None
        assert found.shown is shown
        assert (found.gain.p_value <= 0.025) is shown


@pytest.mark.parametrize(
    ("finals", "count", "key"),
    [
        ([86, 84], 8, {}),  # a seed is missing
        ([86, 84, 85], 8, {"epochs": 4}),
        ([86, 84, 85], 7, {}),
        ([86, 84, 85], 8, {"benchmark": "resnet20-cifar10"}),
    ],
)
def test_no_verdict_while_something_is_missing(controls, evaluated, finals, count, key) -> None:
    board = controls(count, **key) + evaluated(FOCAL, finals, trial=3, **key)
    assert verdict(board, CLAIM) is None


def test_no_verdict_on_a_loss_that_was_not_evaluated(controls, evaluated) -> None:
    assert verdict(controls() + evaluated(POLY1, [86, 84, 85], name="poly1"), CLAIM) is None
    assert verdict([], CLAIM) is None


def test_seeds_added_later_do_not_count(controls, evaluated) -> None:
    claimed = controls() + evaluated(FOCAL, [81, 79, 80], trial=3)
    later = controls() + evaluated(FOCAL, [81, 79, 80, 99, 99, 99], trial=3)
    before, after = verdict(claimed, CLAIM), verdict(later, CLAIM)
    assert before is not None
    assert before == after


def test_a_claim_on_two_benchmarks_is_on_their_mean(controls, evaluated) -> None:
    other = {"benchmark": "resnet20-cifar10"}
    claim = replace(CLAIM, epochs={"resnet8-digits": 2, "resnet20-cifar10": 2})
    one = controls() + evaluated(FOCAL, [84, 82, 83], trial=3)
    assert verdict(one, claim) is None
    both = one + controls(**other) + evaluated(FOCAL, [80, 78, 79], trial=3, **other)
    found = verdict(both, claim)
    assert found is not None
    assert found.gain.mean == pytest.approx((3 - 1) / 2)


def test_a_claim_is_stored_and_read() -> None:
    claim = replace(
        CLAIM,
        controls=[42, 123, 456, 1001],
        protocols={"resnet8-digits": "0" * 12},
        device="cuda",
        losses=[FOCAL.id, CROSS_ENTROPY.id],
        detectable=1.25,
        wanted=1.0,
    )
    assert Claim.from_dict(json.loads(json.dumps(claim.to_dict()))) == claim


def test_a_claim_of_an_older_version_still_stands(controls, evaluated) -> None:
    stored = {
        "trial": 3,
        "loss": FOCAL.id,
        "against": "cross_entropy",
        "seeds": [42, 123, 456],
        "epochs": {"resnet8-digits": 2},
        "test": "one-sided, 2.5 %, mean over the search's benchmarks",
    }
    claim = Claim.from_dict(stored)
    assert claim.promise == ""
    assert verdict(controls() + evaluated(FOCAL, [86, 84, 85], trial=3), claim).shown


@pytest.mark.parametrize("other", [{"device": "cuda"}, {"protocol": "0" * 12}])
@pytest.mark.parametrize("named", [True, False])
def test_runs_on_another_device_or_by_another_protocol_do_not_count(
    controls, evaluated, other: dict[str, str], named: bool
) -> None:
    mine = controls() + evaluated(FOCAL, [86, 84, 85], trial=3)
    theirs = controls(**other) + evaluated(FOCAL, [60, 58, 59], trial=3, **other)
    claim = CLAIM
    if named:
        run = mine[0].run
        claim = replace(CLAIM, device=run.device, protocols={run.benchmark: run.protocol})
        assert verdict(theirs, claim) is None
        assert verdict(theirs + mine, claim) == verdict(mine, claim)
    assert verdict(mine + theirs, claim) == verdict(mine, claim)


def test_controls_stand_on_the_seeds_that_were_named(controls, evaluated) -> None:
    claim = replace(CLAIM, controls=[42, 123, 456, 1001, 1002, 1003, 1004, 1005])
    board = evaluated(FOCAL, [86, 84, 85], trial=3)
    later = evaluated(CROSS_ENTROPY, [81, 79, 80, 81, 79, 80, 81, 79, 10])[8:]
    assert verdict(board + controls(7), claim) is None
    assert len(later) == 1
    assert verdict(board + controls() + later, claim) == verdict(board + controls(), claim)


def test_only_the_losses_that_were_named_say_how_large_the_noise_is(controls, evaluated) -> None:
    noisy = evaluated(POLY1, [70, 30, 50], name="poly1")
    board = controls() + evaluated(FOCAL, [86, 84, 85.3], trial=3)
    claim = replace(CLAIM, losses=[FOCAL.id, CROSS_ENTROPY.id])
    assert verdict(board + noisy, claim) == verdict(board, claim)
    everything = verdict(board + noisy, CLAIM)
    assert everything.gain.standard_error > 2 * verdict(board, claim).gain.standard_error


@pytest.mark.parametrize(
    ("wanted", "start"),
    [
        (None, "3 seeds beside 8 of cross-entropy should find a gain of 1.20 points"),
        (1.2, "3 seeds beside 8 of cross-entropy should find a gain of 1.20 points"),
        (1.0, "there are no seeds for a gain of 1 points: 3 seeds beside 8 of cross-entropy"),
    ],
)
def test_a_claim_says_what_it_could_show(wanted: float | None, start: str) -> None:
    claim = replace(CLAIM, controls=range(8), detectable=1.2, wanted=wanted)
    assert claim.promise.startswith(start)
