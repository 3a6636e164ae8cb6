"""How fast this machine is: the measurements of `losscout bench`, one benchmark after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING

from rich.table import Table

from losses import published
from search.executors import Place, limit_threads, resolve
from search.listings import render, wrapped

if TYPE_CHECKING:
    from training.bench import Measured


def measured(
    place: Place, names: tuple[str, ...], rounds: int, note: Callable[[str], None]
) -> Iterator[Measured]:
    """Measure benchmarks at a place.

    Args:
        place: where; the engine's precision with it.
        names: of the benchmarks.
        rounds: how often engine and yardstick are measured, in turn.
        note: is told what is being measured.
    """
    from training.bench import measure

    place = resolve(place)
    for name in names:
        note(f"measuring {name} on {place.kind}")
        protocol = place.benchmark(name)
        limit_threads([protocol], place)
        yield measure(
            protocol,
            published()["cross_entropy"],
            device=place.device,
            precision=place.precision,
            folder=place.folder,
            rounds=rounds,
        )


def table(results: list[Measured]) -> str:
    """The results, one line for each benchmark, and what the columns mean."""
    text = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    text.add_column("benchmark", overflow="fold")
    columns = ("images/s", "steps/s", "yardstick", "ratio", "start", "gap", "memory", "full run")
    for column in (*columns, "trials/h"):
        text.add_column(column, justify="right", no_wrap=True)
    for each in results:
        speed, ratios = median(each.engine), each.ratios
        text.add_row(
            each.benchmark + ("" if each.images == "real" else " (synthetic)"),
            f"{speed:,.0f}",
            f"{speed / each.batch_size:,.1f}",
            f"{median(each.yardstick):,.0f}",
            f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            f"{each.start:.1f} s",
            f"{each.gap:.2f} s",
            f"{each.memory / 2**30:.1f} GiB",
            _duration(each.full_run),
            f"{each.trials_per_hour:,.1f}",
        )
    first = results[0]
    workers = ", ".join(str(each.loader_workers) for each in results)
    place = f"{first.device}, {first.precision}, CPU threads {first.threads}"
    explained = (
        f"medians of {len(first.engine)} rounds, engine and yardstick in turn (the ratio's least "
        "and most in brackets). The yardstick is a plain loop over a DataLoader, in torch's own "
        f"precision, at its best number of workers ({workers}). Start: compiling and recording, "
        "once. Gap: from one run to the next. Full run: all epochs. Trials: of ten epochs, one "
        "after another."
    )
    return f"{render(text)}\n\n{wrapped(place, explained)}"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
