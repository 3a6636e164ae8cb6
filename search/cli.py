"""The losscout command.

torch, optuna and plotly are imported where they are used: help and errors answer at once.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from search import arguments
from search.arguments import (
    data_option,
    json_option,
    place_options,
    storage_option,
    training_options,
)

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 99}


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="losscout")
def cli() -> None:
    """Search for classification losses, look at what was found, and evaluate it.

    STUDY is the path of a TOML file, or the name of one that ships: quickstart,
    cifar100.
    LOSS is the name of a published loss, a spec as JSON text or file, or a Python file with
    compute_loss(logits, targets, config).
    """


@cli.command()
@click.argument("study")
@click.option(
    "--trials",
    type=click.IntRange(1),
    help="Trials in total, over restarts and coordinators.  [default: the definition's]",
)
@click.option("--amend", is_flag=True, help="Go on although the definition has changed.")
@storage_option
@training_options
def search(study: str, trials: int | None, amend: bool, storage: str | None, **where: Any) -> None:
    """Run a study, or go on with it."""
    from search import launch, named, summary
    from studies.view import StudyView

    definition, text = arguments.read_study(study)
    total = trials or definition.search.trials
    names = definition.search.benchmarks
    if definition.promotion.automatic:
        names = [*names, *definition.evaluated_on]
    workers = where.pop("workers")
    place = named.of_study(definition, study, names).place(**where)
    settings = arguments.settings(storage, place, workers=workers)
    with arguments.interruptible(f"losscout search {study}"):
        launch.run_study(
            settings,
            definition,
            text,
            total=total,
            amend=amend,
            watching=arguments.watching(f"study {definition.name}"),
        )
        if definition.promotion.automatic:
            arguments.write_report(settings.database, definition)
    click.echo(summary.summarise(StudyView.load(settings.database, definition), study))


@cli.command()
@click.argument("study")
@click.argument("loss", nargs=-1)
@click.option("--from", "other", metavar="STUDY", help="The best of another study.")
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@storage_option
def enqueue(
    study: str, loss: tuple[str, ...], other: str | None, top: int, storage: str | None
) -> None:
    """Let losses be the next trials of a study, also of one that is running."""
    from search import queueing
    from search.opening import open_optuna_study

    definition, database = arguments.started_study(study, storage)
    queued = [queueing.Queued(*arguments.loss(each)) for each in loss]
    if other is not None:
        name = arguments.read_study(other)[0].name
        queued += queueing.best_of(name, top, database)
    if not queued:
        raise click.UsageError("LOSS or --from must name a loss")
    queueing.check(queued, definition)
    found = open_optuna_study(database.storage, definition.name)
    new = queueing.enqueue(found, definition, queued)
    for each in queued:
        state = "a next trial" if each in new else "there already"
        click.echo(f"{each.name}: {state}")


@cli.command()
@click.argument("study")
@json_option
@storage_option
def status(study: str, as_json: bool, storage: str | None) -> None:
    """Say how a study stands."""
    from search import summary
    from studies.view import StudyView

    definition, database = arguments.started_study(study, storage)
    found = StudyView.load(database, definition).status
    click.echo(json.dumps(found) if as_json else summary.status_text(found))


@cli.command()
@click.argument("study")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@storage_option
def dashboard(study: str, port: int, storage: str | None) -> None:
    """Show a study in the Optuna dashboard, on this machine alone."""
    from studies import dashboard as pages

    definition, database = arguments.started_study(study, storage)
    artifacts = arguments.home() / "artifacts"
    pages.serve(database, definition, port=port, artifacts=artifacts, announce=click.echo)


@cli.command()
@click.argument("study")
@click.option("--top", type=click.IntRange(1), help="How many of the ladder's best.")
@click.option(
    "--trial", "trials", type=click.IntRange(0), multiple=True, help="A trial by number."
)
@click.option("--epochs", type=click.IntRange(1), help="[default: the benchmark's]")
@click.option("--seeds", help="Evaluation seeds.  [default: the definition's]")
@click.option("--benchmark", "benchmarks", multiple=True, help="[default: the definition's]")
@storage_option
@training_options
def promote(  # noqa: PLR0913 (click hands over every option by name)
    study: str,
    top: int | None,
    trials: tuple[int, ...],
    epochs: int | None,
    seeds: str | None,
    benchmarks: tuple[str, ...],
    storage: str | None,
    **where: Any,
) -> None:
    """Evaluate a study's best losses on the test split, beside the baselines."""
    from search import launch, named, summary
    from search.promotion import Promotion
    from studies.view import StudyView

    definition, database = arguments.started_study(study, storage)
    wanted = Promotion(
        top=top,
        trials=trials,
        epochs=epochs,
        seeds=arguments.seeds(seeds) if seeds else None,
        benchmarks=benchmarks,
    )
    names = [*definition.search.benchmarks, *(benchmarks or definition.evaluated_on)]
    workers = where.pop("workers")
    place = named.of_study(definition, study, names).place(**where)
    settings = arguments.settings(storage, place, workers=workers, database=database)
    with arguments.interruptible(f"losscout promote {study}"):
        watching = arguments.watching(f"promotion of {definition.name}")
        launch.promote_study(settings, definition, wanted, watching)
    click.echo(summary.summarise(StudyView.load(database, definition), study))


@cli.command()
@click.argument("loss")
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    help="A name, or STUDY.toml:NAME for one of your own.  [default: resnet8-digits]",
)
@click.option("--epochs", type=click.IntRange(1), help="[default: the benchmark's]")
@click.option("--seeds", default="42", show_default=True, help="Such as 42,123,456.")
@click.option(
    "--subset",
    type=click.IntRange(1),
    help="Train on so many images: a dry run, never in a leaderboard.",
)
@click.option("--again", is_flag=True, help="Train anew what was evaluated before; both are kept.")
@json_option
@storage_option
@training_options
def evaluate(loss: str, as_json: bool, storage: str | None, **options: Any) -> None:
    """Train a loss on whole training splits and score it on the test split."""
    from search import launch, named, summary
    from search.evaluation import Entry

    name, spec = arguments.loss(loss)
    entry = Entry(name=name, spec=spec, seeds=arguments.seeds(options.pop("seeds")))
    found = named.of_options(options.pop("benchmarks") or ["resnet8-digits"])
    only = {name: options.pop(name) for name in ("epochs", "subset", "again")}
    workers = options.pop("workers")
    place = found.place(**options)
    arguments.check_loss(spec, found.names, only["epochs"], place)
    settings = arguments.settings(storage, place, workers=workers)
    watching = arguments.watching(f"evaluation of {name}")
    with arguments.interruptible("the same command"):
        results = launch.evaluate_loss(settings, entry, found.names, watching, **only)
    if as_json:
        for result in results:
            click.echo(json.dumps(result))
    else:
        click.echo(summary.evaluation_table(results))


@cli.command()
@click.argument("study")
@click.option("--trial", type=click.IntRange(0), help="[default: the best]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="[default: stdout]")
@storage_option
def export(study: str, trial: int | None, output: Path | None, storage: str | None) -> None:
    """Write a found loss as a Python file that needs torch alone."""
    from losses.export import source
    from search import summary
    from studies.view import StudyView

    definition, database = arguments.started_study(study, storage)
    number, spec = summary.find_trial(StudyView.load(database, definition), trial)
    text = source(spec, study=definition.name, trial=number)
    if output is None:
        click.echo(text, nl=False)
    else:
        arguments.write(output, text)
        click.echo(f"trial {number} ({spec.label}) written to {output}")


@cli.command()
@click.argument("study")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="[default: runs/STUDY.html]")
@json_option
@storage_option
def report(study: str, output: Path | None, as_json: bool, storage: str | None) -> None:
    """Write one self-contained HTML page about a study."""
    definition, database = arguments.started_study(study, storage)
    if as_json:
        from search import summary
        from studies.view import StudyView

        click.echo(json.dumps(summary.leaderboard_json(StudyView.load(database, definition))))
        return
    click.echo(arguments.write_report(database, definition, output))


@cli.command()
@click.argument("name", required=False)
@click.option("--check", metavar="LOSS", help="Would this loss be refused? Status 1 if so.")
@click.pass_context
def families(context: click.Context, name: str | None, check: str | None) -> None:
    """List the families of losses, or one family's parameters, or check a loss."""
    from search import listings

    if check is None:
        click.echo(listings.family(name) if name else listings.families())
        return
    if name is not None:
        raise click.UsageError(f"--check takes the place of a family but got {name!r} beside it")
    text, passes = listings.check(*arguments.spec(check))
    click.echo(text)
    context.exit(0 if passes else 1)


@cli.command()
def benchmarks() -> None:
    """List the benchmarks and the protocol of each."""
    from search import listings

    click.echo(listings.benchmarks())


@cli.command()
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    help="A name, or STUDY.toml:NAME for one of your own.  [default: all]",
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@json_option
@place_options
def bench(benchmarks: tuple[str, ...], rounds: int, as_json: bool, **where: Any) -> None:
    """Measure how fast this machine trains, beside a plain DataLoader loop."""
    from search import named, speed
    from training.benchmarks import benchmarks as all_benchmarks

    found = named.of_options(benchmarks or all_benchmarks())
    place = found.place(**where, images=False)

    def note(text: str) -> None:
        click.echo(text, err=True)

    with arguments.interruptible("the same command", kept="nothing is stored"):
        results = list(speed.measured(place, found.names, rounds, note))
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in results]))
    else:
        click.echo(speed.table(results))


@cli.group(no_args_is_help=False)
def data() -> None:
    """Get data sets, and check those that are there."""


@data.command()
@click.argument("name")
@click.option(
    "--from",
    "source",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Images of your own: DIR/train/CLASS/IMAGE and DIR/test/CLASS/IMAGE.",
)
@data_option
def pack(name: str, source: Path | None, data: Path | None) -> None:
    """Download a data set (cifar10, cifar100, fashion_mnist), or pack your own images."""
    from search import packing

    again = f"losscout data pack {name}"
    with arguments.interruptible(again, kept="no half file is left, begin again"):
        click.echo(packing.pack_data(name, source, data))


@data.command()
@click.argument("name", nargs=-1)
@data_option
def verify(name: tuple[str, ...], data: Path | None) -> None:
    """Check the digests of data sets, of all that are there if none is named."""
    from search import packing

    for line in packing.verify_data(name, data):
        click.echo(line)


def main() -> None:
    """Run the command: 0 done, 1 the work failed, 2 wrong input in one line, 130 Ctrl-C."""
    try:
        status = cli.main(standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 (until the process ends)
        status = 0
    except Exception as error:
        status = arguments.exit_status(error)
        click.echo(f"losscout: {arguments.one_line(error)}", err=True)
        if status == 1 and not isinstance(error, click.ClickException):
            arguments.log_traceback(error)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
