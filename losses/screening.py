"""What is refused before any training, and why.

A loss is looked at on made-up logits, with no network, at the progress values of the training that
is to come. Each check says its figures; the cheapest come first.

Shapes: B examples of a batch, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from losses.fingerprint import (
    CLASSES,
    Batch,
    Fingerprint,
    fixed_batch,
    gradient,
    sampled,
    stages,
    unit_block,
)
from losses.spec import LossSpec, progress

Kind = Literal["not_finite", "no_signal", "already_tried", "does_not_teach"]

STAGES = 5
"""At so many progress values at most is a moving loss looked at, the first and last among them: a
schedule goes from start to end without a turn. Fingerprints are compared at every epoch."""

LARGE = 1e4
"""Magnitude of the largest logits."""

WEAKEST, STRONGEST = 1e-4, 1e3
"""Gradient norm over cross-entropy's: outside, no learning rate of a benchmark would serve."""

COARSE, FINE = (20, 0.5), (100, 0.1)
"""Gradient descents that go equally far: steps, and the length of each. The coarse one shows in a
fifth of the time what nearly every loss can; none is refused before it has failed the fine one."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        kind: What a loss is called that fails the check.
        reason: The figures that decide, as a sentence without its full stop.
    """

    kind: Kind
    passed: bool
    reason: str


class Case(NamedTuple):
    """Where a loss is looked at: a number of classes, and a progress if the loss moves."""

    num_classes: int
    progress: float
    moves: bool

    def __str__(self) -> str:
        when = f" at progress {self.progress:.2g}" if self.moves else ""
        return f"on {self.num_classes} classes{when}"


def screen(loss: Fingerprint, *, against: Sequence[Fingerprint] = ()) -> Finding | None:
    """Return why a loss is refused, or None.

    Args:
        loss: The loss, with the length of the training that is to come.
        against: The losses that were tried before.
    """
    return next((each for each in examine(loss, against=against) if not each.passed), None)


def examine(loss: Fingerprint, *, against: Sequence[Fingerprint] = ()) -> Iterator[Finding]:
    """Check a loss, one check each time that the next finding is asked for."""
    cases = cases_of(loss.spec, loss.epochs)
    yield finite(loss.spec, cases)
    yield signal(loss.spec, cases)
    yield untried(loss, against)
    yield teaches(loss.spec, cases)


def cases_of(spec: LossSpec, epochs: int) -> list[Case]:
    """Return where a loss is looked at before a training of so many epochs."""
    distinct = [epoch for epoch, _ in stages(spec, epochs=epochs)]
    count = min(len(distinct), STAGES)
    last, gaps = len(distinct) - 1, max(count - 1, 1)
    chosen = [distinct[round(i * last / gaps)] for i in range(count)]
    return [Case(k, progress(epoch, epochs), count > 1) for epoch in chosen for k in CLASSES]


def finite(spec: LossSpec, cases: Sequence[Case]) -> Finding:
    """Check that values and gradients are finite, in the types of a training."""
    for case in cases:
        for dtype in (torch.float32, torch.bfloat16):
            logits_BK, labels_B = trying_batch(case.num_classes)
            logits_BK = logits_BK.to(dtype).requires_grad_()
            loss_B = spec.per_example(logits_BK, labels_B, progress=case.progress)
            (gradient_BK,) = torch.autograd.grad(loss_B.sum(), logits_BK)
            for what, values in (("value", loss_B), ("gradient", gradient_BK)):
                if not values.isfinite().all():
                    name = str(dtype).removeprefix("torch.")
                    reason = f"a {what} is not finite in {name} {case}"
                    return Finding(kind="not_finite", passed=False, reason=reason)
    reason = f"values and gradients are finite, also at logits of {LARGE:g} and in bfloat16"
    return Finding(kind="not_finite", passed=True, reason=reason)


def signal(spec: LossSpec, cases: Sequence[Case]) -> Finding:
    """Check that gradients are neither too small nor too large for any learning rate."""
    ratios = []
    for case in cases:
        norm = float(gradient(spec, unit_block(case.num_classes), case.progress).norm())
        ratio = norm / cross_entropy_norm(case.num_classes)
        if not WEAKEST <= ratio <= STRONGEST:
            reason = (
                f"the gradient is {ratio:.3g} times cross-entropy's {case}, "
                f"outside {WEAKEST:g} to {STRONGEST:g}"
            )
            return Finding(kind="no_signal", passed=False, reason=reason)
        ratios.append(ratio)
    reason = f"the gradient is {min(ratios):.3g} to {max(ratios):.3g} times cross-entropy's"
    return Finding(kind="no_signal", passed=True, reason=reason)


def untried(loss: Fingerprint, against: Sequence[Fingerprint]) -> Finding:
    """Check that no earlier loss has the same gradients but for one factor."""
    found = loss.twin(against)
    if found is None:
        reason = f"none of {len(against)} losses has the same gradients"
        return Finding(kind="already_tried", passed=True, reason=reason)
    other, likeness = found
    factor = f"{likeness.factor:.3g}"
    reason = f"the same gradients as {other.name}"
    reason += "" if factor == "1" else f" but for a factor {factor}"
    return Finding(kind="already_tried", passed=False, reason=reason)


def teaches(spec: LossSpec, cases: Sequence[Case]) -> Finding:
    """Check that descending the loss by the logits themselves halves the error."""
    walks = []
    for case in cases:
        walk = descend(spec, case, *COARSE)
        if not walk.halves:
            walk = descend(spec, case, *FINE)
        if not walk.halves:
            return Finding(kind="does_not_teach", passed=False, reason=f"{walk} {case}")
        walks.append((walk, case))
    walk, case = max(walks, key=lambda each: each[0].steps * each[0].length)
    return Finding(kind="does_not_teach", passed=True, reason=f"{walk} {case}")


class Walk(NamedTuple):
    """A gradient descent: the error before and after, its steps and their length."""

    before: float
    after: float
    steps: int
    length: float

    @property
    def halves(self) -> bool:
        return self.after <= self.before / 2

    def __str__(self) -> str:
        fault = "" if self.halves else ", not to half,"
        return (
            f"{self.steps} steps of gradient descent take the error "
            f"from {100 * self.before:.0f} % to {100 * self.after:.0f} %{fault}"
        )


def descend(spec: LossSpec, case: Case, steps: int, length: float) -> Walk:
    """Walk down a loss until the error is halved, with steps of a mean length over the rows."""
    logits_BK, labels_B = unit_block(case.num_classes)
    before = after = error(logits_BK, labels_B)
    taken = 0
    while taken < steps and after > before / 2:
        gradient_BK = gradient(spec, (logits_BK, labels_B), case.progress)
        logits_BK = logits_BK - length * gradient_BK / gradient_BK.norm(dim=1).mean()
        after = error(logits_BK, labels_B)
        taken += 1
    return Walk(before, after, taken, length)


def error(logits_BK: Tensor, labels_B: Tensor) -> float:
    """Return the part of the rows whose largest logit is not the label's."""
    return float((logits_BK.argmax(dim=1) != labels_B).double().mean())


@cache
def cross_entropy_norm(num_classes: int) -> float:
    """Return the norm of cross-entropy's gradient on the unit block."""
    return float(gradient(LossSpec(), unit_block(num_classes), 0.0).norm())


@cache
def trying_batch(num_classes: int) -> Batch:
    """Return rows in which label 0 has probability 0, 1 or any between, and a few usual rows."""
    usual_BK, labels_B = sampled(fixed_batch(num_classes))
    label_K, last_K, all_K = torch.zeros(3, num_classes, dtype=usual_BK.dtype).unbind()
    label_K[0] = last_K[-1] = LARGE
    all_K[:] = LARGE
    rows = [label_K, last_K, all_K, 2 * label_K - all_K]
    extreme_BK = torch.stack([0 * all_K, *rows, *(-row_K for row_K in rows)])
    zeros_B = labels_B.new_zeros(len(extreme_BK))
    return torch.cat([extreme_BK, usual_BK]), torch.cat([zeros_B, labels_B])
