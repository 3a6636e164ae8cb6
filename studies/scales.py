"""Cross-entropy times a factor: is what a loss gains more than another learning rate?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from losses import LossSpec
from studies.claims import LEVEL, Claim, Verdict, finals_by_loss
from studies.gains import mean_gain
from studies.standings import CROSS_ENTROPY
from studies.statistics import Noise, compare
from studies.tables import Evaluation, Run


def scaled(factor: float) -> LossSpec:
    """Cross-entropy times a factor."""
    return LossSpec(family="composite", parameters={"scale": factor})


def gradient_scale(runs: Sequence[Run]) -> float | None:
    """How long a loss's gradients are in units of cross-entropy's, to three digits.

    The mean over epochs and then over runs; None where no run has measured it.
    """
    curves = (run.curves.get("gradient_ratio", ()) for run in runs)
    measured = [[ratio for ratio in curve if ratio is not None] for curve in curves]
    means = [fmean(ratios) for ratios in measured if ratios]
    return float(f"{fmean(means):.3g}") if means else None


def pick_scales(evaluations: Sequence[Evaluation], claim: Claim) -> dict[str, float]:
    """The gradient scale of a claim's pick by benchmark, where it was measured."""
    runs = [each.run for each in evaluations]
    mine = [run for run in runs if run.loss_id == claim.loss and claim.rests_on(run)]
    scales = {
        name: gradient_scale([run for run in mine if run.benchmark == name])
        for name in claim.epochs
    }
    return {name: scale for name, scale in scales.items() if scale}


def scale_verdict(evaluations: Sequence[Evaluation], claim: Claim) -> Verdict | None:
    """Whether a claim's pick does more than cross-entropy of its gradient scale.

    One-sided at the level of the claim: a second step, which counts only where the first one
    holds. None while a run is missing.
    """
    scales = pick_scales(evaluations, claim)
    if set(scales) != set(claim.epochs):
        return None
    gains = []
    for name, scale in scales.items():
        rival = scaled(scale).id
        losses = None if claim.losses is None else [*claim.losses, rival]
        finals = finals_by_loss(evaluations, replace(claim, losses=losses), name)
        if not set(claim.seeds) <= set(finals[rival]) & set(finals[claim.loss]):
            return None
        same = {seed: finals[rival][seed] for seed in claim.seeds}
        noise = Noise.pooled(finals, finals[CROSS_ENTROPY.id])
        gains.append(compare(finals[claim.loss], same, noise))
    gain = mean_gain(gains)
    rate = _rate(scales)
    shown = gain.mean > 0 and gain.p_value <= LEVEL
    if shown:
        said = "more than a learning rate"
    elif gain.mean > 0:
        said = "not shown to be more than a learning rate"
    else:
        said = "a learning rate does as well"
    return Verdict(gain, shown, f"{said}: {gain.words} over {rate}")


def _rate(scales: Mapping[str, float]) -> str:
    if len(scales) == 1:
        return f"cross-entropy x{next(iter(scales.values())):g}"
    each = ", ".join(f"x{scale:g} on {name}" for name, scale in scales.items())
    return f"cross-entropy scaled alike ({each})"
