"""What a family is: a named space of losses, ranges over one formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from losses.checks import LossError, shown

if TYPE_CHECKING:
    from torch import Tensor

Symbols = Mapping[str, str]
"""What a parameter is written as, by name: a number, a letter, or an expression of Python."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """One parameter: what it means, where a search looks, and what mathematics allows.

    Attributes:
        name: The name in specs and in the formula's function.
        meaning: What the parameter does, in a few words.
        latex: Its symbol in LaTeX.
        low: Least value searched.
        high: Greatest value searched.
        log: Whether a search draws it evenly in the logarithm.
        neutral: The value at which its term vanishes; None if there is none.
        above: Allowed values are greater than this.
        at_least: Allowed values are at least this.
        below: Allowed values are less than this.
        at_most: Allowed values are at most this.
        class_scaling: How a value set for 100 classes is carried to K, with s = ln K / ln 100:
            "*" times s, "**" to the power s, None as it is.

    Raises:
        LossError: If low <= neutral <= high does not hold, low is not allowed or a logarithmic
            range reaches 0.
    """

    name: str
    meaning: str
    latex: str
    low: float
    high: float
    log: bool = False
    neutral: float | None = None
    above: float = -math.inf
    at_least: float = -math.inf
    below: float = math.inf
    at_most: float = math.inf
    class_scaling: Literal["*", "**"] | None = None

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise LossError(f"{self.name} must have low <= high but got {self.low}, {self.high}")
        if self.neutral is not None and not self.low <= self.neutral <= self.high:
            raise LossError(
                f"{self.name} must have low <= neutral <= high "
                f"but got {self.low}, {self.neutral}, {self.high}"
            )
        if self.log and self.low <= 0:
            raise LossError(f"{self.name} must have low above 0 to be log but got {self.low}")
        self.check(self.low)
        self.check(self.high)

    def allows(self, value: float) -> bool:
        """Return whether mathematics allows the value, be it searched or not."""
        return self.above < value < self.below and self.at_least <= value <= self.at_most

    def check(self, value: float) -> None:
        """Refuse a value that mathematics does not allow.

        Raises:
            LossError: Naming the parameter, what is allowed and the value.
        """
        if not self.allows(value):
            raise LossError(f"{self.name} must be {self.allowed} but got {value}")

    @property
    def allowed(self) -> str:
        """What mathematics allows, in words: "at least 0 and below 1"."""
        bounds = {
            "above": self.above,
            "at least": self.at_least,
            "below": self.below,
            "at most": self.at_most,
        }
        rules = [f"{words} {bound:g}" for words, bound in bounds.items() if math.isfinite(bound)]
        return " and ".join(rules) or "any finite number"


@dataclass(frozen=True, kw_only=True)
class Family:
    """A named space of losses.

    Either each of its parameters has a neutral value, and where all are neutral the loss is
    cross-entropy; or none has, and a loss gives them all.

    Attributes:
        name: The name in specs and studies.
        description: What its losses have in common, in one line.
        source: Where it was published.
        formula: The name of its function, and of the family that a loss of this space is stored
            under: a sub-family is a space, its losses are the formula's.
        module: The module of this package that has the function.
        parameters: What a search draws, in order.
        unsearched: What a spec may set but no search draws and no schedule moves.
        scheduled: The names of the parameters that a search of this space lets follow a schedule.
        text: Writes the formula as plain text; a parameter without a symbol is neutral, and its
            term is left out.
        latex: Writes the formula as LaTeX for math mode.
        python: Writes the formula as the lines of a function of `z` and `targets`.
    """

    name: str
    description: str
    source: str
    formula: str
    module: str
    parameters: tuple[Range, ...]
    unsearched: tuple[Range, ...] = ()
    scheduled: tuple[str, ...] = ()
    text: Callable[[Symbols], str]
    latex: Callable[[Symbols], str]
    python: Callable[[Symbols], list[str]]

    @property
    def per_example(self) -> Callable[..., Tensor]:
        """The formula: logits_BK, labels_B and the parameters by name -> losses [B], in nats."""
        # Imported here, so that reading the table needs no torch.
        function: Callable[..., Tensor] = getattr(
            import_module(f"losses.{self.module}"), self.formula
        )
        return function

    def parameter(self, name: str) -> Range:
        """Return the parameter of this name.

        Raises:
            LossError: If the family has none.
        """
        ranges = {each.name: each for each in (*self.parameters, *self.unsearched)}
        if name not in ranges:
            raise LossError(
                f"unknown parameter {shown(name)} of family {self.name!r}: "
                f"choose one of {', '.join(ranges)}"
            )
        return ranges[name]
