"""A space as Optuna sees it: trial.suggest_* in one direction, a point in the other.

A space of several families has "family", and the parameters of the family drawn have its name
before their own: "tempered.t1". A parameter that may move has, beside its own value, three more:
"gamma.shape" (constant or the shape of a schedule), and where it moves "gamma.end" and for a
switch "gamma.at".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from losses import LossSpec, Range, Schedule
from studies.space import Space

if TYPE_CHECKING:
    from optuna import Trial

LAST_SWITCH = 0.9
"""The latest progress at which a switch may come: after it, too little training is left."""


def shapes(space: Space, name: str, epochs: int) -> list[str]:
    """The shapes that a parameter's schedule may have in a search of so many epochs."""
    if name not in space.moving:
        return []
    # A switch before the second epoch or at the last is none.
    return [
        each for each in space.shapes if each != "switch" or first_switch(epochs) < LAST_SWITCH
    ]


def first_switch(epochs: int) -> float:
    """The progress of the second epoch."""
    return 1 / max(epochs - 1, 1)


def suggest(trial: Trial, space: Space, epochs: int) -> LossSpec:
    """The loss that a trial is to try, drawn by the study's sampler."""
    prefix = ""
    if len(space.family) > 1:
        prefix = trial.suggest_categorical("family", space.family) + "."
    parameters: dict[str, float | Schedule] = {}
    for name, each in space.varying(prefix).items():
        value = _suggest_float(trial, name, each)
        choices = shapes(space, name, epochs)
        shape = "constant"
        if choices:
            shape = trial.suggest_categorical(f"{name}.shape", ["constant", *choices])
        if shape == "constant":
            parameters[each.name] = value
            continue
        end = _suggest_float(trial, f"{name}.end", each)
        at = None
        if shape == "switch":
            at = trial.suggest_float(f"{name}.at", first_switch(epochs), LAST_SWITCH)
        parameters[each.name] = Schedule(shape=shape, start=value, end=end, at=at)
    return LossSpec(
        family=space.members[prefix].name, parameters=parameters, class_scaled=space.class_scaled
    )


def point(spec: LossSpec, space: Space, epochs: int) -> dict[str, Any] | None:
    """The values that ``suggest`` would have to draw for this loss; None where it lies outside."""
    # The space's own setting decides what its points mean, so a loss without a margin or
    # temperature to scale is inside either way.
    inside = LossSpec(
        family=spec.family, parameters=spec.parameters, class_scaled=space.class_scaled
    )
    for prefix, family in space.members.items():
        values: dict[str, Any] = {"family": family.name} if prefix else {}
        for name, each in space.varying(prefix).items():
            value = spec.parameters.get(each.name, each.neutral)
            values |= _point(name, value, shapes(space, name, epochs))
        try:
            back = suggest(_Fixed(values), space, epochs)  # type: ignore[arg-type]
        except _OutsideError:
            continue
        if back == inside:
            return values
    return None


def _suggest_float(trial: Trial, name: str, each: Range) -> float:
    return trial.suggest_float(name, each.low, each.high, log=each.log)


def _point(name: str, value: float | Schedule | None, choices: list[str]) -> dict[str, Any]:
    if not isinstance(value, Schedule):
        return {name: value, **({f"{name}.shape": "constant"} if choices else {})}
    moving = {name: value.start, f"{name}.shape": value.shape, f"{name}.end": value.end}
    return moving if value.at is None else moving | {f"{name}.at": value.at}


class _OutsideError(Exception):
    pass


class _Fixed:
    """Stands in for a trial: gives fixed values, and refuses those that no trial could draw."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        value = self._values.get(name)
        if value is None or not low <= value <= high:
            raise _OutsideError
        return float(value)

    def suggest_categorical(self, name: str, choices: list[str]) -> str:
        if self._values.get(name) not in choices:
            raise _OutsideError
        return str(self._values[name])
