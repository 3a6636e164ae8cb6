"""Definitions from TOML files, whose faults are told in one line that names the key."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from studies.definition import StudyDefinition
from studies.errors import StudyError


def shipped() -> dict[str, Path]:
    """The definitions that come with LosScout, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}


def read(study: str) -> tuple[StudyDefinition, str]:
    """Read a definition.

    Args:
        study: the path of a TOML file, or the name of one that ships.

    Returns:
        The definition, and its text as it stands in the file.

    Raises:
        StudyError: no such file, not TOML, or a key that breaks a rule.
    """
    path = Path(study)
    if path.suffix != ".toml":
        known = shipped()
        if study not in known:
            raise StudyError(
                f"unknown study {study!r}: give the path of a .toml file, or one of "
                f"{', '.join(known)}"
            )
        path = known[study]
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise StudyError(f"{path} must be TOML text but holds bytes that are not UTF-8") from None
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror}") from None
    return parse(text, source=str(path)), text


def parse(text: str, *, source: str) -> StudyDefinition:
    """Check the text of a definition; ``source`` is the file that errors name.

    A study without a name of its own has its file's.

    Raises:
        StudyError: not TOML, or a key that breaks a rule.
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number may have too many digits for Python
        raise StudyError(f"{source} is not valid TOML: {error}") from None
    try:
        return StudyDefinition.model_validate({"name": Path(source).stem, **tables})
    except ValidationError as error:
        raise StudyError(f"{source}: {_first_fault(error)}") from None


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    key = "".join(f"[{part}]" if isinstance(part, int) else _dotted(part) for part in fault["loc"])
    rule = fault["msg"].removeprefix("Value error, ")
    rule = {"missing": "is required", "extra_forbidden": "is no key of a study"}.get(
        fault["type"], rule[:1].lower() + rule[1:]
    )
    said = fault["type"] == "missing" or " but got " in rule
    given = "" if said else f" (got {_short(fault['input'])})"
    return f"{key.lstrip('.')}{': ' if key else ''}{rule}{given}"


def _dotted(key: str) -> str:
    # A quoted key may hold anything, line breaks too, and an error is one line.
    return f".{key}" if key.isprintable() else f".{key!r}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
