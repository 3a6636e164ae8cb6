"""LossSpec: one loss as data.

Shapes: B examples of a batch, K classes, P active parameters.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from losses import wording
from losses.catalogue import families
from losses.checks import LossError, check_keys, finite_number, read_json, shown
from losses.family import Family, Range
from losses.schedules import Schedule

if TYPE_CHECKING:
    from torch import Tensor

Value = float | Schedule

CROSS_ENTROPY = "composite"
"""The family of cross-entropy, which is what any family is with every parameter neutral."""


@dataclass(frozen=True)
class LossSpec:
    """One loss: a family's name, and a number or a schedule for each parameter that matters.

    Two specs of one loss are equal: when made, a spec turns a constant schedule into its number,
    drops what is neutral, and names the family of the formula in place of a sub-family. With
    nothing left it is cross-entropy, of the family `composite`.

    As a `training.Loss` it hands its active values over as a tensor, so that a captured graph of
    one `structure` serves every loss of that structure at every epoch.

    Attributes:
        family: The name of one of `families()`.
        parameters: The active parameters in the family's order, read-only. A schedule may be
            given in its JSON form.
        class_scaled: Whether the values are meant for 100 classes and carried to K classes as
            each Range says.

    Raises:
        LossError: If the family or a parameter is unknown, a value is not allowed, or a parameter
            without a neutral value is left out.
    """

    family: str = "composite"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    class_scaled: bool = False

    def __post_init__(self) -> None:
        family = _family(self.family)
        if not isinstance(self.parameters, Mapping):
            raise LossError(f"parameters must be an object but got {shown(self.parameters)}")
        if not isinstance(self.class_scaled, bool):
            raise LossError(f"class_scaled must be a bool but got {shown(self.class_scaled)}")
        ranges = {name: family.parameter(name) for name in self.parameters}
        values = {name: _value(family, name, given) for name, given in self.parameters.items()}
        for each in family.parameters:
            if each.neutral is None and each.name not in values:
                raise LossError(
                    f"family {family.name!r} needs the parameter {each.name!r}, {each.allowed}, "
                    f"but got {shown(dict(self.parameters))}"
                )
        active = {
            each.name: values[each.name]
            for each in (*family.parameters, *family.unsearched)
            if each.name in values and values[each.name] != each.neutral
        }
        scaled = self.class_scaled and any(ranges[name].class_scaling for name in active)
        object.__setattr__(self, "family", family.formula if active else CROSS_ENTROPY)
        object.__setattr__(self, "parameters", MappingProxyType(active))
        object.__setattr__(self, "class_scaled", scaled)

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __reduce__(self) -> tuple[Any, ...]:
        return LossSpec.from_json, (self.to_json(),)  # a read-only mapping cannot be pickled

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, which `from_dict` reads."""
        parameters = {
            name: value.to_dict() if isinstance(value, Schedule) else value
            for name, value in self.parameters.items()
        }
        form: dict[str, Any] = {"family": self.family, "parameters": parameters}
        return form | {"class_scaled": True} if self.class_scaled else form

    @classmethod
    def from_dict(cls, form: object) -> LossSpec:
        """Read the JSON form.

        Raises:
            LossError: If it is not that of a loss.
        """
        optional = {"parameters", "class_scaled"}
        return cls(**check_keys("a loss", form, required={"family"}, optional=optional))

    def to_json(self) -> str:
        """Return the canonical text: keys sorted, no spaces, numbers as short as they can be."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> LossSpec:
        """Read a loss from JSON text.

        Raises:
            LossError: If the text is not JSON, or not that of a loss.
        """
        return cls.from_dict(read_json("a loss", text))

    @property
    def id(self) -> str:
        """Twelve hex digits that name this loss, the same on every machine."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """How it differs from cross-entropy, in short: "eps 0.1 -> 0 (cosine), gamma 2".

        A loss of another structure is told by its family: "tempered: t1 0.8, t2 1.2".
        """
        return wording.label(self)

    @property
    def formula(self) -> str:
        """The loss of one example as one line of text, without its neutral terms.

        z are the logits, y is the label, p = softmax(z) where the line says nothing else, H is
        the entropy, K the number of classes, and [k = y] is 1 for the label and 0 for every other
        class.
        """
        return wording.formula(self)

    @property
    def latex(self) -> str:
        """The same as `formula`, as LaTeX for math mode."""
        return wording.latex(self)

    def values_at(self, progress: float, num_classes: int = 100) -> dict[str, float]:
        """Return each active parameter's value at a progress in [0, 1], by name, in order."""
        family = _family(self.family)
        return {
            name: self._scaled(
                family.parameter(name),
                value(progress) if isinstance(value, Schedule) else value,
                num_classes,
            )
            for name, value in self.parameters.items()
        }

    def per_example(self, logits_BK: Tensor, labels_B: Tensor, *, progress: float) -> Tensor:
        """Return the loss of each example in nats, shape [B].

        Args:
            logits_BK: Logits of any floating type; the work is done in float32 or wider.
            labels_B: Labels, integers in [0, K).
            progress: How much of the training is done, in [0, 1].

        Raises:
            LossError: If progress lies outside [0, 1].
        """
        values = self.values_at(progress, logits_BK.shape[1])
        return _family(self.family).per_example(logits_BK, labels_B, **values)

    def compute_loss(self, logits: Tensor, targets: Tensor, config: Mapping[str, Any]) -> Tensor:
        """Return the mean loss of a batch in nats, a scalar.

        Args:
            logits: Logits, shape [B, K].
            targets: Labels, shape [B].
            config: "num_classes", "epoch" (from 0) and "total_epochs".
        """
        values = self.values_at(
            progress(config["epoch"], config["total_epochs"]), config["num_classes"]
        )
        return _family(self.family).per_example(logits, targets, **values).mean()

    @property
    def structure(self) -> Hashable:
        """What a captured graph depends on: the formula and which of its terms are there."""
        return self.family, tuple(self.parameters)

    def values(self, epoch: int, total_epochs: int, num_classes: int) -> tuple[float, ...]:
        """Return the active values at an epoch, in the order that `__call__` takes them."""
        return tuple(self.values_at(progress(epoch, total_epochs), num_classes).values())

    def __call__(self, logits_BK: Tensor, labels_B: Tensor, values_P: Tensor) -> Tensor:
        """Return the loss of each example in nats, shape [B], at the values of an epoch."""
        values = dict(zip(self.parameters, values_P.unbind(), strict=True))
        return _family(self.family).per_example(logits_BK, labels_B, **values)

    def _scaled(self, range_: Range, value: float, num_classes: int) -> float:
        s = math.log(num_classes) / math.log(100)
        if not self.class_scaled or range_.class_scaling is None:
            return value
        return value * s if range_.class_scaling == "*" else value**s


def progress(epoch: int, total_epochs: int) -> float:
    """Return how much of a training is done at an epoch, counted from 0; 0 if there is but one.

    Raises:
        LossError: If the epoch is not one of the training's.
    """
    if not 0 <= epoch < total_epochs:
        raise LossError(f"epoch must be at least 0 and below {total_epochs} but got {epoch}")
    return epoch / max(total_epochs - 1, 1)


def _family(name: object) -> Family:
    table = families()
    if not isinstance(name, str) or name not in table:
        raise LossError(f"unknown family {shown(name)}: choose one of {', '.join(table)}")
    return table[name]


def _value(family: Family, name: str, given: object) -> Value:
    """Return a checked number or schedule for a parameter."""
    range_ = family.parameter(name)
    if isinstance(given, Mapping):
        given = _schedule(name, given)
    if not isinstance(given, Schedule):
        number = finite_number(name, given)
        range_.check(number)
        return number
    if range_ in family.unsearched:
        raise LossError(f"{name} must be a number, never a schedule, but got {given}")
    range_.check(given.start)
    range_.check(given.end)
    return given.start if given.start == given.end else given


def _schedule(name: str, form: object) -> Schedule:
    try:
        return Schedule.from_dict(form)
    except LossError as error:
        raise LossError(f"{name}: {error}") from None
