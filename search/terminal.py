"""What a person sees while a study runs: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.runs import TrialUpdate, Watcher

ROWS = 12
"""How many trials the live view shows."""

COLOURS = {
    "complete": "green",
    "pruned": "yellow",
    "rejected": "red",
    "diverged": "red",
    "running": "cyan",
    "out_of_memory": "red",
    "worker_died": "red",
}


@contextmanager
def watching(title: str, plan: Mapping[str, int]) -> Iterator[Watcher]:
    """Show a study on stderr for the length of the block.

    Args:
        title: what is being done.
        plan: the phases to come and how many epochs each will train, for the time left.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        view = LiveView(title, plan)
        with Live(view, console=console, refresh_per_second=4):
            yield view
    else:
        yield PlainView(console, title)


class Clock:
    """How much of the planned work is done, and how long the rest will take."""

    def __init__(self, plan: Mapping[str, int]) -> None:
        self._start = time.monotonic()
        self._ahead = dict(plan)
        self.phase, self.total, self.done = "", 0, 0
        self._before = 0

    def begin(self, phase: str, epochs: int) -> None:
        """A phase begins: its epochs are now known."""
        self._ahead.pop(phase, None)
        self._before += self.done
        self.phase, self.total, self.done = phase, epochs, 0

    def worked(self, epochs: int) -> None:
        """Epochs that are done, or that need not be done any more."""
        self.done = min(self.total, self.done + epochs)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take; None before anything is done."""
        done = self._before + self.done
        if done == 0:
            return None
        return (self.total - self.done + sum(self._ahead.values())) * self.elapsed / done


class PlainView:
    """A line for each phase and each trial that ended: for log files and pipes."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._line(title)

    def phase(self, name: str, epochs: int) -> None:
        """See ``Watcher``."""
        if epochs:
            self._line(f"{name}: {epochs} epochs to train")

    def worked(self, epochs: int) -> None:
        """See ``Watcher``."""

    def trial(self, update: TrialUpdate) -> None:
        """See ``Watcher``."""
        if update.state != "running":
            gain = "" if update.gain is None else f" {update.gain:+.2f}"
            why = "" if update.state == "complete" else f" ({update.reason})"
            self._line(f"trial {update.number}{gain} {update.state}{why}: {update.name}")

    def note(self, text: str) -> None:
        """See ``Watcher``."""
        self._line(text)

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveView:
    """A picture of the study that is drawn anew a few times a second."""

    def __init__(self, title: str, plan: Mapping[str, int]) -> None:
        self._title = title
        self._clock = Clock(plan)
        self._trials: dict[int, TrialUpdate] = {}
        self._notes: list[str] = []

    def phase(self, name: str, epochs: int) -> None:
        """See ``Watcher``."""
        self._clock.begin(name, epochs)

    def worked(self, epochs: int) -> None:
        """See ``Watcher``."""
        self._clock.worked(epochs)

    def trial(self, update: TrialUpdate) -> None:
        """See ``Watcher``."""
        self._trials[update.number] = update

    def note(self, text: str) -> None:
        """See ``Watcher``."""
        self._notes.append(text)

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = [self._progress()]
        if self._trials:
            parts += [Text(), self._table(), self._best()]
        parts += [Text(note, style="yellow") for note in self._notes[-3:]]
        return Panel(Group(*parts), title=self._title, title_align="left", padding=(0, 1))

    def _progress(self) -> RenderableType:
        clock = self._clock
        left = "" if clock.left is None else f", about {duration(clock.left)} left"
        row = Table.grid(padding=(0, 1))
        row.add_row(
            Text(clock.phase or "starting", style="bold"),
            ProgressBar(total=max(clock.total, 1), completed=clock.done, width=30),
            Text(f"{clock.done}/{clock.total} epochs"),
            Text(f"{duration(clock.elapsed)}{left}", style="dim"),
        )
        return row

    def _table(self) -> RenderableType:
        table = Table(box=None, padding=(0, 1), header_style="dim")
        table.add_column("trial", justify="right")
        table.add_column("loss", max_width=48, no_wrap=True, overflow="ellipsis")
        table.add_column("epoch", justify="right")
        table.add_column("gain", justify="right")
        table.add_column("state")
        best = self._best_update()
        for number in sorted(self._trials)[-ROWS:]:
            update = self._trials[number]
            table.add_row(
                str(number),
                update.name,
                f"{update.done}/{update.epochs}",
                "" if update.gain is None else f"{update.gain:+.2f}",
                Text(update.state.replace("_", " "), style=COLOURS.get(update.state, "")),
                style="bold" if update is best else None,
            )
        return table

    def _best(self) -> RenderableType:
        best = self._best_update()
        if best is None:
            return Text("no trial is complete yet", style="dim")
        return Text(f"best so far: trial {best.number}, {best.gain:+.2f} points, {best.name}")

    def _best_update(self) -> TrialUpdate | None:
        complete = [each for each in self._trials.values() if each.state == "complete"]
        return max(complete, key=lambda each: each.gain or 0.0, default=None)


def duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
