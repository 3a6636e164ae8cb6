"""The space of a study: which losses its trials are drawn from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, field_validator, model_validator

from losses import Family, Range, families
from studies.keys import CONFIG, unique


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Space(BaseModel):
    """Which losses are searched: families, and which of their parameters may vary or move.

    A trial of several families draws one of them first, and then that one's parameters, whose
    names have the family's before them: "tempered.t1".
    """

    model_config = CONFIG

    family: Annotated[list[str], Field(min_length=1), BeforeValidator(_listed)]
    parameters: list[str] | None = None
    schedules: list[str] | None = None
    shapes: list[Literal["linear", "cosine", "switch"]] = ["linear", "cosine", "switch"]
    class_scaled: bool = False

    @field_validator("family")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in families():
                raise ValueError(f"must be one of {', '.join(families())} but got {name!r}")
        return unique(names)

    @model_validator(mode="after")
    def _parameters_of_the_families(self) -> Self:
        allowed = [
            prefix + each.name
            for prefix, family in self.members.items()
            for each in family.parameters
        ]
        for key, names in (("parameters", self.parameters), ("schedules", self.schedules)):
            for name in names or ():
                if name not in allowed:
                    raise ValueError(
                        f"{key} must be among those of {', '.join(self.family)} "
                        f"({', '.join(allowed)}) but got {name!r}"
                    )
            unique(names or [])
        if self.parameters == []:
            raise ValueError("parameters must name at least one parameter, or be left out for all")
        return self

    @model_validator(mode="after")
    def _every_draw_is_a_loss(self) -> Self:
        for prefix, family in self.members.items():
            if not self.varying(prefix):
                raise ValueError(f"parameters must name at least one of {family.name}")
            for each in family.parameters:
                if each.neutral is None and prefix + each.name not in self.varying(prefix):
                    raise ValueError(
                        f"parameters must name {prefix + each.name}, which has no neutral value"
                    )
        return self

    @model_validator(mode="after")
    def _what_moves_varies(self) -> Self:
        varying = [name for prefix in self.members for name in self.varying(prefix)]
        for name in self.schedules or ():
            if name not in varying:
                raise ValueError(
                    f"schedules must be among parameters ({', '.join(varying)}) but got {name!r}"
                )
        if not self.shapes and any(name in varying for name in self.moving):
            raise ValueError(
                f"shapes must name at least one, for {', '.join(self.moving)} to follow"
            )
        unique(self.shapes)
        return self

    @property
    def members(self) -> dict[str, Family]:
        """The families, by what stands before their parameters' names: nothing for one alone."""
        alone = len(self.family) == 1
        return {"" if alone else f"{name}.": families()[name] for name in self.family}

    def varying(self, prefix: str) -> dict[str, Range]:
        """The parameters of a member that vary, by their names in trials, in its order."""
        names = {prefix + each.name: each for each in self.members[prefix].parameters}
        return {
            name: each
            for name, each in names.items()
            if self.parameters is None or name in self.parameters
        }

    @property
    def moving(self) -> list[str]:
        """The names in trials of the parameters that may follow a schedule, if they vary."""
        if self.schedules is not None:
            return self.schedules
        return [prefix + name for prefix, each in self.members.items() for name in each.scheduled]
