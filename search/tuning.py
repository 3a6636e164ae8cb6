"""The tuned baseline: label smoothing, searched as hard as the losses that are to beat it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from studies.definition import Promotion, StudyDefinition
from studies.space import Space


def tuned_study(definition: StudyDefinition) -> StudyDefinition:
    """The study that tunes label smoothing with a study's own budget, ladder and seeds."""
    return definition.model_copy(
        update={
            "name": f"{definition.name}-smoothing",
            "description": f"The tuned baseline of {definition.name}",
            "space": Space(family=["smoothing"]),
            "promotion": Promotion(),
            "start": [],
        }
    )


def toml(definition: StudyDefinition) -> str:
    """A definition as the text of a file that says the same: what was left out stays left out."""
    return _toml(definition.model_dump(mode="json", exclude_unset=True), "")


def _toml(tables: Mapping[str, Any], prefix: str) -> str:
    # JSON writes strings, numbers, booleans and lists of them as TOML does.
    keys = {k: v for k, v in tables.items() if not _is_table(v) and not _are_tables(v)}
    text = "".join(f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in keys.items())
    for key, value in tables.items():
        if _is_table(value):
            text += f"[{prefix}{key}]\n{_toml(value, f'{prefix}{key}.')}"
        elif _are_tables(value):
            for each in value:
                text += f"[[{prefix}{key}]]\n{_toml(each, f'{prefix}{key}.')}"
    return text


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _are_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_table, value))
