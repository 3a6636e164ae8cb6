"""What every table of a definition keeps to: unknown keys are errors, nothing is converted."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

CONFIG = ConfigDict(extra="forbid", frozen=True, strict=True)


def unique(values: list[Any]) -> list[Any]:
    """Return the values as they are.

    Raises:
        ValueError: one is there twice.
    """
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"must not name {value!r} twice")
    return values
