"""The bodies of `losscout data`: packing with a bar on stderr, and a verdict on each data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.data import data_folder
from training.folders import Progress as Reading
from training.pack import pack
from training.packed import DataError, Sound, packed_file, verify


def pack_data(name: str, source: Path | None, folder: Path | None) -> str:
    """Pack a data set, unless it is to be downloaded and lies there whole.

    Returns:
        What is there now, in one line.

    Raises:
        ClickException: The work failed: the download broke off, or the disk is full.
        UsageError: What the user gave is wrong.
    """
    folder = data_folder(folder)
    if source is None:
        try:
            return f"nothing to do: {_verdict(name, verify(name, folder))}"
        except DataError:
            pass  # it is missing or damaged: that is what packing mends
    try:
        with bar(f"packing {name}") as reading:
            pack(name, folder, source=source, progress=reading)
        return f"{_verdict(name, verify(name, folder))}: {packed_file(name, folder)}"
    except DataError as error:
        raise click.UsageError(str(error)) from None
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise click.UsageError(
            f"--data must be a folder that can be written to but got {folder}: {error.strerror}"
        ) from None
    except OSError as error:
        raise click.ClickException(f"{name} is not packed: {error.strerror or error}") from None


def verify_data(names: Sequence[str], folder: Path | None) -> Iterator[str]:
    """Check data sets, all that are there if none is named; yields a line for each.

    Raises:
        UsageError: After the last line, if one of them cannot be used.
    """
    folder = data_folder(folder)
    names = names or sorted(file.stem for file in folder.glob("*.safetensors"))
    if not names:
        yield f"no data set in {folder}: get one with: losscout data pack cifar100"
    wrong = []
    for name in dict.fromkeys(names):
        try:
            yield _verdict(name, verify(name, folder))
        except DataError as error:
            wrong.append(name)
            yield f"{name}: {error}"
    if wrong:
        raise click.UsageError(f"{len(wrong)} of {len(names)} cannot be used: {', '.join(wrong)}")


def _verdict(name: str, sound: Sound) -> str:
    digest = "ok" if sound.stored or sound.known else "none to check against"
    whose = ", that of the published data set" if sound.known else ""
    return f"{name}: {sound.images:,} images, {sound.classes} classes, digest {digest}{whose}"


@contextmanager
def bar(title: str) -> Iterator[Reading]:
    """A progress bar on stderr, from the first image on: until then torchvision shows its own."""
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(title, total=None)

    def reading(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield reading
    finally:
        bar.stop()
