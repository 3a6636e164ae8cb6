"""Schedules: the path of one parameter over training, a pure function of progress."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from losses.checks import LossError, check_keys, finite_number, shown


def linear(progress: float) -> float:
    """Return the part of the way that is done: an even pace."""
    return progress


def cosine(progress: float) -> float:
    """Return the part of the way that is done: slow, fast, slow."""
    return (1.0 - math.cos(math.pi * progress)) / 2.0


def switch(progress: float, at: float) -> float:
    """Return the part of the way that is done: none of it before `at`, all of it from there."""
    return float(progress >= at)


RAMPS: dict[str, Callable[[float], float]] = {"linear": linear, "cosine": cosine}
SHAPES = (*RAMPS, "switch")


@dataclass(frozen=True)
class Schedule:
    """A value that moves from `start` to `end` as progress goes from 0 to 1.

    Attributes:
        shape: "linear", "cosine" or "switch".
        start: The value at progress 0, exactly.
        end: The value at progress 1, exactly.
        at: For a switch, the progress in (0, 1] from which the value is `end`; else None.

    Raises:
        LossError: If the shape is unknown, a number is not finite, or `at` does not fit the shape.
    """

    shape: str
    start: float
    end: float
    at: float | None = None

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            choices = ", ".join(SHAPES)
            raise LossError(f"unknown shape {shown(self.shape)}: choose one of {choices}")
        object.__setattr__(self, "start", finite_number("start", self.start))
        object.__setattr__(self, "end", finite_number("end", self.end))
        if self.shape != "switch":
            if self.at is not None:
                raise LossError(f"at belongs to a switch but the shape is {self.shape!r}")
            return
        if self.at is None:
            raise LossError("a switch needs the key 'at'")
        object.__setattr__(self, "at", finite_number("at", self.at))
        if not 0 < self.at <= 1:
            raise LossError(f"at must be above 0 and at most 1 but got {self.at}")

    def __call__(self, progress: float) -> float:
        """Return the value at a progress in [0, 1].

        Raises:
            LossError: If progress lies outside.
        """
        if not 0 <= progress <= 1:
            raise LossError(f"progress must be at least 0 and at most 1 but got {progress}")
        done = RAMPS[self.shape](progress) if self.at is None else switch(progress, self.at)
        # Not start + done * (end - start), which rounding keeps from ending at `end`.
        return (1.0 - done) * self.start + done * self.end

    def __str__(self) -> str:
        at = "" if self.at is None else f" at {self.at:.4g}"
        return f"{self.start:.4g} -> {self.end:.4g} ({self.shape}{at})"

    def to_dict(self) -> dict[str, str | float]:
        """Return the JSON form, which `from_dict` reads."""
        form: dict[str, str | float] = {"shape": self.shape, "start": self.start, "end": self.end}
        return form if self.at is None else form | {"at": self.at}

    @classmethod
    def from_dict(cls, form: object) -> Schedule:
        """Read the JSON form: `{"shape": "linear", "start": 0.0, "end": 2.0}`.

        Raises:
            LossError: If a key is missing, unknown, or has a value that is not allowed.
        """
        required = {"shape", "start", "end"}
        return cls(**check_keys("a schedule", form, required=required, optional={"at"}))
