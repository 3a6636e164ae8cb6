"""Does another arithmetic, or the yardstick, end where the engine's own does? Paired by seed.

python -m tests.training.parity resnet8-digits --seeds 40 --epochs 15 --precision bf16
"""

from collections.abc import Callable
from dataclasses import replace

import click
import torch
from scipy import stats

from losses import published
from training import Benchmark, benchmark, reference, search_data, train
from training.data import Data, subset

TINY = {
    "digits-resnet": ("resnet", (1, 1, 1)),
    "digits-vgg": ("vgg", (1, 1)),
    "digits-mobilenet": ("mobilenet", (1,) * 7),
    "cifar-resnet8": ("resnet", (1, 1, 1)),
}


def _named(name: str) -> Benchmark:
    """A benchmark of ours, or a small one with its architecture."""
    if name not in TINY:
        return benchmark(name)
    whole = benchmark("resnet56-cifar100" if name.startswith("cifar") else "resnet8-digits")
    architecture, blocks = TINY[name]
    return replace(whole, name=name, architecture=architecture, blocks=blocks)


@click.command()
@click.argument("name", metavar="BENCHMARK")
@click.option("--seeds", default=8, help="How many pairs.")
@click.option("--epochs", default=5)
@click.option("--images", type=int, help="Train on so many of the search's images.")
@click.option("--device", default="cpu")
@click.option("--precision", default="bf16", help="What is looked at.")
@click.option("--against", type=click.Choice(["fp32", "yardstick"]), default="fp32")
def main(  # noqa: PLR0913 (click hands over every option by name)
    name: str,
    seeds: int,
    epochs: int,
    images: int | None,
    device: str,
    precision: str,
    against: str,
) -> None:
    """Train pairs of runs, and print the mean difference of their final accuracies."""
    entry = _named(name)
    data = search_data(entry, device=device)
    if images:
        data = subset(data, images, name="parity")
    differences, plain = [], []
    for seed in range(1, seeds + 1):
        ours = _final(train, entry, data, seed, epochs, device=device, precision=precision)
        options = {"precision": "fp32"} if against == "fp32" else {}
        other = train if against == "fp32" else reference.train
        theirs = _final(other, entry, data, seed, epochs, device=device, **options)
        differences.append(ours - theirs)
        plain.append(theirs)
        click.echo(f"seed {seed}: {precision} {ours:.2f} %, {against} {theirs:.2f} %", err=True)
    found = stats.ttest_1samp(differences, 0)
    low, high = found.confidence_interval()
    click.echo(
        f"{name}, {epochs} epochs, {len(data.training.labels)} images, {seeds} seeds, {device}: "
        f"{precision} less {against} {sum(differences) / seeds:+.2f} points "
        f"(95 % interval {low:+.2f} to {high:+.2f}); {against} ends at {sum(plain) / seeds:.2f} % "
        f"(sd {stats.tstd(plain):.2f}); torch {torch.__version__}"
    )


def _final(
    run: Callable[..., object], entry: Benchmark, data: Data, seed: int, epochs: int, **options
) -> float:
    loss = published()["cross_entropy"]
    *_, last = run(entry, loss, seed=seed, epochs=epochs, data=data, **options)
    return last.accuracy


if __name__ == "__main__":
    main()
