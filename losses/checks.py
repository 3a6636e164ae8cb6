"""The one error of this package, and the checks of data that all of it shares."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from numbers import Real
from typing import Any


class LossError(ValueError):
    """A loss that cannot be: one line that names the thing, the rule and the value."""


def shown(value: object) -> str:
    """Return a value as an error shows it: on one line, however large it is."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python prints no integer of more than 4300 digits
        return "a number too large to show"


def finite_number(name: str, value: object) -> float:
    """Return a value as a float, with -0.0 as 0.0.

    Raises:
        LossError: If it is not a number (a bool is not), or too large, infinite or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise LossError(f"{name} must be a number but got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise LossError(f"{name} must be finite but got {shown(value)}")
    return number + 0.0


def check_keys(
    thing: str, form: object, *, required: set[str], optional: set[str]
) -> Mapping[str, Any]:
    """Return a JSON object that has every required key and no unknown one.

    Raises:
        LossError: If it is no object, or naming the first key that is missing or unknown.
    """
    if not isinstance(form, Mapping):
        raise LossError(f"{thing} must be an object but got {shown(form)}")
    for key in sorted(required - form.keys()):
        raise LossError(f"{thing} needs the key {key!r} but got {shown(dict(form))}")
    for key in form:
        if key not in required | optional:
            known = ", ".join(sorted(required | optional))
            raise LossError(f"unknown key {shown(key)} of {thing}: choose one of {known}")
    return form


def read_json(thing: str, text: str) -> Any:
    """Return what a JSON text says.

    Raises:
        LossError: If it is not strict JSON, names a key twice or is nested beyond reason.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except LossError as error:
        raise LossError(f"{thing} {error}") from None
    except RecursionError:
        raise LossError(f"{thing} is nested too deep: {shown(text)}") from None
    except ValueError as error:
        raise LossError(f"{thing} must be JSON but got {shown(text)}: {error}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise LossError(f"has the key {shown(key)} twice")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise LossError(f"must have finite numbers but got {name}")
