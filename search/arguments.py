"""What the command's arguments mean: shared options, and checks that name the fault."""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from losses import AnyLoss, LossSpec
    from search.executors import Place
    from search.launch import Settings, Watching
    from studies.database import Database
    from studies.definition import StudyDefinition

Command = Callable[..., Any]

storage_option = click.option(
    "--storage",
    metavar="URL",
    envvar="LOSSCOUT_STORAGE",
    help="Database, SQLite or PostgreSQL.  [default: runs/losscout.db]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    envvar="LOSSCOUT_DATA",
    help="Folder of the packed data sets.  [default: ~/.cache/losscout]",
)


def _workers(_ctx: click.Context, _option: click.Parameter, text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise click.BadParameter(f"must be auto or a number from 1 to 256 but got {text!r}")
    return int(text)


def training_options(command: Command) -> Command:
    """Where and how networks are trained."""
    workers = click.option(
        "--workers",
        callback=_workers,
        metavar="N|auto",
        default="1",
        show_default=True,
        help="Worker processes; 1 trains in this process, auto measures how many pay.",
    )
    return workers(place_options(command))


def place_options(command: Command) -> Command:
    """Where networks are trained, and in which arithmetic."""
    device = click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where networks are trained.",
    )
    precision = click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "tf32", "bf16"]),
        callback=lambda _context, _option, name: None if name == "auto" else name,
        default="auto",
        show_default=True,
        help="Of the networks' arithmetic; auto is bf16 on a GPU and fp32 on a CPU.",
    )
    return data_option(device(precision(command)))


def home() -> Path:
    """Where state lives: LOSSCOUT_HOME, or runs/ under the working folder."""
    return Path(os.environ.get("LOSSCOUT_HOME") or "runs")


def open_database(storage: str | None, *, create: bool) -> Database:
    """The database that --storage names, or the one at home."""
    from studies.database import Database, parse_url

    return Database(parse_url(storage or f"sqlite:///{home() / 'losscout.db'}"), create=create)


def settings(
    storage: str | None,
    place: Place,
    *,
    workers: int | Literal["auto"],
    database: Database | None = None,
) -> Settings:
    """Where a command that trains is to work."""
    import optuna

    from search.launch import Settings

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    checkpoints = home() / "checkpoints"
    _check_folder(checkpoints)  # before anything is written
    return Settings(
        database=database or open_database(storage, create=True),
        checkpoints=checkpoints,
        place=place,
        workers=workers,
    )


def _check_folder(folder: Path) -> None:
    from studies.errors import StudyError

    nearest = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise StudyError(
            f"{folder} must be a folder that can be written to, but {nearest} is none "
            "(LOSSCOUT_HOME names its parent)"
        )


def read_study(study: str) -> tuple[StudyDefinition, str]:
    """A definition and its text."""
    from studies.reading import read

    return read(study)


def started_study(study: str, storage: str | None) -> tuple[StudyDefinition, Database]:
    """A study that was started before, as it was defined then, and its database."""
    import optuna

    from studies import records
    from studies.errors import StudyError
    from studies.reading import parse

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = read_study(study)[0].name
    database = open_database(storage, create=False)
    with database.transaction() as session:
        row = records.find_study(session, name)
    if row is None:
        raise StudyError(f"study {name!r} was never started here: losscout search {study}")
    return parse(row.definition, source=f"{name}.toml"), database


def loss(text: str) -> tuple[str, AnyLoss]:
    """A loss and its name, from a published name, JSON text, a JSON file or a Python file."""
    from losses import CustomLoss, LossError, LossSpec, published

    if text in published():
        return text, published()[text]
    if text.lstrip().startswith("{"):
        spec = LossSpec.from_json(text)
        return spec.label, spec
    path = Path(text)
    if path.suffix == ".json":
        try:
            spec = LossSpec.from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise LossError(f"{path} cannot be read: {reason}") from None
        except LossError as error:
            raise LossError(f"{path}: {error}") from None
        return path.stem, spec
    if path.suffix == ".py":
        return path.name, CustomLoss.read(path)
    raise LossError(
        f"unknown loss {text!r}: give a spec as JSON, a .json or .py file, or one of "
        f"{', '.join(published())}"
    )


def spec(text: str) -> tuple[str, LossSpec]:
    """The same for a loss that must be data: no Python file."""
    from losses import LossError, LossSpec

    name, found = loss(text)
    if not isinstance(found, LossSpec):
        raise LossError(f"--check must name a published loss or a spec as JSON but got {text!r}")
    return name, found


def check_loss(loss: AnyLoss, names: Sequence[str], epochs: int | None, place: Place) -> None:
    """Try a user's own file as each benchmark will call it, before anything is trained."""
    from losses import CustomLoss
    from search.executors import resolve

    if not isinstance(loss, CustomLoss):
        return
    device = resolve(place).device
    for each in map(place.benchmark, names):
        total = epochs or each.epochs
        loss.check(num_classes=each.num_classes, total_epochs=total, device=device)


def seeds(text: str) -> list[int]:
    """Evaluation seeds from text such as "42,123,456"."""
    from studies.definition import check_evaluation_seeds

    try:
        return check_evaluation_seeds([int(part) for part in text.split(",")])
    except ValueError as error:
        rule = (
            "must be whole numbers such as 42,123,456" if "invalid literal" in str(error) else ""
        )
        raise click.BadParameter(
            f"--seeds {rule} but got {text!r}" if rule else f"--{error}"
        ) from None


def interruptible(
    again: str, *, kept: str = "everything is kept, go on"
) -> contextlib.AbstractContextManager[None]:
    """Say after Ctrl-C, or a scheduler's SIGTERM, what is left by then and how to go on."""

    @contextlib.contextmanager
    def block() -> Iterator[None]:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield
        except KeyboardInterrupt:
            click.echo(f"\nstopped; {kept} with: {again}", err=True)
            raise
        finally:
            signal.signal(signal.SIGTERM, before)

    return block()


def watching(title: str) -> Watching:
    """A view on stderr that is opened once the plan is known."""
    from search import terminal

    return lambda plan: terminal.watching(title, plan)


def write(path: Path, text: str) -> None:
    """Write a file that the user named."""
    from studies.errors import StudyError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{path} cannot be written: {error.strerror}") from None


def write_report(
    database: Database, definition: StudyDefinition, path: Path | None = None
) -> Path:
    """Write a study's report; returns where it lies."""
    from studies.report import report
    from studies.view import StudyView

    path = path or home() / f"{definition.name}.html"
    write(path, report(StudyView.load(database, definition)))
    return path


def exit_status(error: Exception) -> int:
    """2 where what the user gave is wrong, 1 where the work failed."""
    if isinstance(error, click.ClickException):
        return error.exit_code  # 2 for a UsageError, which all of click's own checks raise
    from losses import LossError
    from studies.errors import StudyError
    from training import BenchmarkError, DataError

    wrong_input = (LossError, StudyError, BenchmarkError, DataError)
    return 2 if isinstance(error, wrong_input) else 1


def one_line(error: Exception) -> str:
    """An error as one line."""
    if isinstance(error, click.ClickException):
        return " ".join(error.format_message().split())
    return " ".join(str(error).split()) or type(error).__name__


def log_traceback(error: Exception) -> None:
    """Keep the traceback of an unexpected error in a file, and say where."""
    from search.runs import RunFailedError

    if isinstance(error, RunFailedError):  # raised from an event, whose reason is all there is
        return
    path = home() / "error.log"
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(traceback.format_exc(), encoding="utf-8")
        click.echo(f"losscout: the details are in {path}", err=True)
