"""A loss in words: its label, and its formula as text and as LaTeX.

A number stands in the formula itself. What moves (a schedule, or a value that is carried to
another number of classes) stands there as a letter and is said behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.catalogue import families
from losses.family import Range
from losses.schedules import Schedule

if TYPE_CHECKING:
    from losses.spec import LossSpec, Value


def label(spec: LossSpec) -> str:
    """Return how a loss differs from cross-entropy: "eps 0.1 -> 0 (cosine), gamma 2".

    One of another structure is told by its family: "tempered: t1 0.8, t2 1.2".
    """
    changes = [f"{name} {in_text(value)}" for name, value in spec.parameters.items()]
    changes += ["class-scaled"] if spec.class_scaled else []
    label = ", ".join(changes) or "cross-entropy"
    return label if spec.family == "composite" else f"{spec.family}: {label}"


def formula(spec: LossSpec) -> str:
    """Return a loss's formula as one line of text."""
    moving = moving_ranges(spec)
    symbols = {
        name: name if name in moving else in_text(value) for name, value in spec.parameters.items()
    }
    said = [families()[spec.family].text(symbols)]
    for name, range_ in moving.items():
        factor = class_factor(spec, range_, times=" * s", power="^s")
        said.append(f"{name} = {in_text(spec.parameters[name])}{factor}")
    said += ["s = ln K / ln 100"] if spec.class_scaled else []
    return ", ".join(said)


def latex(spec: LossSpec) -> str:
    """Return a loss's formula as LaTeX for math mode."""
    moving = moving_ranges(spec)
    symbols = {
        name: moving[name].latex if name in moving else in_latex(value)
        for name, value in spec.parameters.items()
    }
    said = [families()[spec.family].latex(symbols)]
    for name, range_ in moving.items():
        factor = class_factor(spec, range_, times=r" \, s", power="^s")
        said.append(f"{range_.latex} = {in_latex(spec.parameters[name])}{factor}")
    said += [r"s = \ln K / \ln 100"] if spec.class_scaled else []
    return r", \quad ".join(said)


def moving_ranges(spec: LossSpec) -> dict[str, Range]:
    """Return the parameters whose value depends on progress or on the number of classes."""
    ranges = {name: families()[spec.family].parameter(name) for name in spec.parameters}
    return {
        name: range_
        for name, range_ in ranges.items()
        if isinstance(spec.parameters[name], Schedule)
        or (spec.class_scaled and range_.class_scaling)
    }


def class_factor(spec: LossSpec, range_: Range, *, times: str, power: str) -> str:
    """Return how the class scaling of a parameter is written behind its value."""
    ways = {"*": times, "**": power, None: ""}
    return ways[range_.class_scaling] if spec.class_scaled else ""


def in_text(value: Value) -> str:
    """Return a number with four digits, or a schedule: "0 -> 2 (linear)"."""
    return str(value) if isinstance(value, Schedule) else f"{value:.4g}"


def in_latex(value: Value) -> str:
    r"""Return a number with four digits, or a schedule: "(0 \to 2, \text{linear})"."""
    if isinstance(value, Schedule):
        at = "" if value.at is None else f" at {value.at:.4g}"
        start, end = in_latex(value.start), in_latex(value.end)
        return rf"\left({start} \to {end},\ \text{{{value.shape}{at}}}\right)"
    digits, _, exponent = f"{value:.4g}".partition("e")
    return rf"{digits} \cdot 10^{{{int(exponent)}}}" if exponent else digits
