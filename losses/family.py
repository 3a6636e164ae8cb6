"""Families: named spaces of losses, each a list of ranges over one formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from losses import notation
from losses.checks import LossError, shown

if TYPE_CHECKING:
    from torch import Tensor


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

    Attributes:
        name: The name in specs and studies.
        description: What its losses have in common, in one line.
        source: Where it was published.
        formula: The name of its function in `losses.functional`, and of the family that a loss
            of this space is stored under: a sub-family is a space, its losses are the formula's.
        parameters: What a search draws, in order.
        unsearched: What a spec may set but no search draws and no schedule moves.
        scheduled: The names of the parameters that a search of this space lets follow a schedule.
        text: Writes the formula as plain text; see `losses.notation`.
        latex: Writes the formula as LaTeX.
        python: Writes the formula as the lines of a function.
    """

    name: str
    description: str
    source: str
    formula: str
    parameters: tuple[Range, ...]
    unsearched: tuple[Range, ...] = ()
    scheduled: tuple[str, ...] = ()
    text: Callable[[notation.Symbols], str]
    latex: Callable[[notation.Symbols], str]
    python: Callable[[notation.Symbols], list[str]]

    @property
    def per_example(self) -> Callable[..., Tensor]:
        """The formula: logits_BK, labels_B and the parameters by name -> losses [B], in nats."""
        from losses import functional  # here, so that reading the table needs no torch

        function: Callable[..., Tensor] = getattr(functional, self.formula)
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


# fmt: off
COMPOSITE_PARAMETERS = (
    Range(name="m", meaning="logit margin", latex="m",
          low=0, high=3, neutral=0, class_scaling="*"),
    Range(name="tau", meaning="temperature", latex=r"\tau",
          low=0.5, high=2, log=True, neutral=1, above=0, class_scaling="**"),
    Range(name="eps", meaning="label smoothing", latex=r"\varepsilon",
          low=0, high=0.3, neutral=0, at_least=0, below=1),
    Range(name="gamma", meaning="focus on hard examples", latex=r"\gamma",
          low=0, high=3, neutral=0, at_least=0),
    Range(name="kappa", meaning="mistrust of labels that look wrong", latex=r"\kappa",
          low=0, high=0.7, neutral=0, at_least=0, at_most=1),
    Range(name="a1", meaning="linear polynomial term", latex="a_1",
          low=-0.5, high=5, neutral=0, above=-1),
    Range(name="a2", meaning="quadratic polynomial term", latex="a_2",
          low=0, high=3, neutral=0, at_least=0),
    Range(name="beta", meaning="confidence penalty", latex=r"\beta",
          low=0, high=0.3, neutral=0, at_least=0),
    Range(name="lam", meaning="logit penalty", latex=r"\lambda",
          low=0, high=0.01, neutral=0, at_least=0),
    Range(name="mu", meaning="max suppression", latex=r"\mu",
          low=0, high=0.3, neutral=0, at_least=0),
)
SCALE = Range(name="scale", meaning="factor of the whole loss: a learning rate", latex="c",
              low=1, high=1, neutral=1, above=0)
# fmt: on

COMPOSITE = Family(
    name="composite",
    description="cross-entropy and its common relatives in one formula",
    source="this project; the sources of its terms stand with its sub-families",
    formula="composite",
    parameters=COMPOSITE_PARAMETERS,
    unsearched=(SCALE,),
    text=notation.composite_text,
    latex=notation.composite_latex,
    python=notation.composite_python,
)


def part(
    name: str, parameters: str, *, description: str, source: str, scheduled: str = ""
) -> Family:
    """Return the sub-family of `composite` whose other parameters stay neutral."""
    return replace(
        COMPOSITE,
        name=name,
        description=description,
        source=source,
        parameters=tuple(COMPOSITE.parameter(each) for each in parameters.split()),
        scheduled=tuple(scheduled.split()),
    )


FAMILIES = (
    COMPOSITE,
    part(
        "margin",
        "m tau",
        description="the label's logit must win by a margin",
        source="Wang et al., 2018. arXiv:1801.05599",
    ),
    part(
        "temperature",
        "tau",
        description="sharper or softer probabilities",
        source="Agarwala et al., 2020. arXiv:2010.07344",
    ),
    part(
        "smoothing",
        "eps",
        description="some of the target goes to all classes alike",
        source="Szegedy et al., 2016. arXiv:1512.00567",
    ),
    part(
        "focal",
        "gamma",
        description="easy examples weigh less",
        source="Lin et al., 2017. arXiv:1708.02002",
    ),
    part(
        "generalised",
        "kappa",
        description="labels that look wrong weigh less: between cross-entropy and 1 - p_y",
        source="Zhang & Sabuncu, 2018. arXiv:1805.07836",
    ),
    part(
        "polynomial",
        "a1 a2",
        description="cross-entropy's first terms as a series in 1 - p_y, reweighted",
        source="Leng et al., 2022. arXiv:2204.12511",
    ),
    part(
        "penalty",
        "beta lam mu",
        description="a price on confidence, on large logits and on the largest logit",
        source=(
            "Pereyra et al., 2017. arXiv:1701.06548; Kornblith et al., 2021. arXiv:2010.16402; "
            "Zhou et al., 2025. arXiv:2502.15798"
        ),
    ),
    part(
        "curriculum",
        "tau eps gamma kappa",
        description="from easy to hard, or from sharp to soft, as training goes on",
        source="Bengio et al., 2009. doi:10.1145/1553374.1553380",
        scheduled="tau eps gamma kappa",
    ),
)


def families() -> dict[str, Family]:
    """Return every family by name, in a fixed order."""
    return {family.name: family for family in FAMILIES}
