"""The tables of families and of benchmarks, as text."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.table import Table

import losses
import training
from losses import LossError, LossSpec

CHECKS = {
    "not_finite": "is finite",
    "no_signal": "has a signal",
    "already_tried": "is new",
    "does_not_teach": "teaches",
}
CHECKED_EPOCHS = 10
"""Length of the training at whose progress values a moving loss is checked."""


def families() -> str:
    """Every family: its parameters and what it is for."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("family", "parameters", "what it is"):
        table.add_column(column, overflow="fold")
    for each in losses.families().values():
        names = " ".join(parameter.name for parameter in each.parameters)
        table.add_row(each.name, names, each.description)
    return f"{render(table)}\n\n{wrapped('published losses', ', '.join(losses.published()))}"


def family(name: str) -> str:
    """A family's formula, its parameters with their ranges, and its source.

    Raises:
        LossError: there is no family of that name.
    """
    known = losses.families()
    if name not in known:
        raise LossError(f"unknown family {name!r}: choose one of {', '.join(known)}")
    each = known[name]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("parameter", "searched", "neutral", "allowed", "what it does"):
        table.add_column(column, overflow="fold")
    for parameter in each.parameters:
        scale = ", log" if parameter.log else ""
        moves = ", may follow a schedule" if parameter.name in each.scheduled else ""
        table.add_row(
            parameter.name,
            f"{parameter.low:g} to {parameter.high:g}{scale}",
            "none" if parameter.neutral is None else f"{parameter.neutral:g}",
            parameter.allowed,
            parameter.meaning + moves,
        )
    formula = each.text({parameter.name: parameter.name for parameter in each.parameters})
    return "\n\n".join(
        (
            wrapped(each.name, each.description),
            wrapped("loss", formula),
            render(table),
            wrapped("source", each.source),
        )
    )


def benchmarks() -> str:
    """Every benchmark and its protocol."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("benchmark", "data", "classes", "epochs", "batch", "learning rate", "search"):
        table.add_column(column, overflow="fold")
    for each in training.benchmarks().values():
        table.add_row(
            each.name,
            each.data,
            str(each.num_classes),
            str(each.epochs),
            str(each.batch_size),
            f"{each.learning_rate:g}, cosine to 0",
            "no: hidden" if each.hidden else "yes",
        )
    return render(table)


def check(name: str, spec: LossSpec) -> tuple[str, bool]:
    """What screening finds of a loss, and which published one is nearest; whether it passes."""
    from losses.fingerprint import Fingerprint
    from losses.screening import examine

    known = [
        Fingerprint.of(each, loss, epochs=CHECKED_EPOCHS)
        for each, loss in losses.published().items()
        if (each, loss) != (name, spec)
    ]
    loss = Fingerprint.of(name, spec, epochs=CHECKED_EPOCHS)
    findings = list(examine(loss, against=known))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("check", "passes", "figures"):
        table.add_column(column, overflow="fold")
    for each in findings:
        table.add_row(CHECKS[each.kind], "yes" if each.passed else "no", each.reason)
    distance, nearest = min((loss.likeness(each).distance, each.name) for each in known)
    passes = all(each.passed for each in findings)
    lines = [
        render(table),
        "",
        f"nearest published loss: {nearest}, 1 - cosine {distance:.2g}",
        f"{name}: {'fit to be searched' if passes else 'would be refused'}",
    ]
    return "\n".join(lines), passes


def render(table: Table) -> str:
    """A table as plain text, as wide as the terminal, or as needed where there is none."""
    console = Console(width=width(), highlight=False, markup=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def wrapped(title: str, text: str) -> str:
    """A titled text, broken where a table would be."""
    return textwrap.fill(f"{title}: {text}", width(), break_on_hyphens=False)


def width() -> int:
    """As wide as the terminal; 160 characters where there is none."""
    console = Console()
    return console.width if console.is_terminal else 160
