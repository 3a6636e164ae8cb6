"""A bank of real training curves, recorded once and replayed in place of training.

    python -m tests.replay.bank record bank.jsonl   goes on where it was cut off
    python -m tests.replay.bank pack bank.jsonl     writes the compressed bank beside this file

Everything was trained with `training.train` on resnet8-digits. What is in it:

- losses: the published ones of `composite`, and what an unpruned search proposes in the two spaces
  that ship (random points first, then TPE on what was recorded), on ``SEEDS`` and, so that a pick
  can be judged by runs that it was not picked by, on ``HELD_OUT``;
- controls: plain cross-entropy on the first seeds of a search;
- noise: plain cross-entropy at search fidelity on many other seeds;
- evaluation noise: plain cross-entropy on the evaluation split. No loss is judged by these runs
  and their seeds belong to no evaluation: they are a bank of what chance alone does there.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import optuna
from optuna.trial import TrialState

from losses import LossSpec, published
from search.samplers import make_sampler
from search.space import suggest
from studies.definition import StudyDefinition
from studies.reading import parse
from training import Diverged, EpochReport, benchmark, evaluation_data, search_data, train

FILE = Path(__file__).parent / "bank.jsonl.gz"
BENCHMARK = "resnet8-digits"
CROSS_ENTROPY = published()["cross_entropy"]

CURVES = ("train_loss", "accuracy", "cross_entropy", "calibration_error", "seconds")
EPOCHS = {"search": 15, "evaluation": 10}
SEEDS = (2001, 2002, 2003)
HELD_OUT = (2004, 2005, 2006)
CONTROL_SEEDS = tuple(range(2001, 2013))
NOISE_SEEDS = tuple(range(20_001, 20_301))
EVALUATION_NOISE_SEEDS = tuple(range(30_001, 30_151))

PROPOSALS = 27
"""How many losses each of the two spaces gives, the first ``STARTUP`` at random."""
STARTUP = 12
SPACES = {
    "quickstart": 'parameters = ["m", "eps", "gamma", "a1"]\nschedules = ["gamma"]',
    "cifar100": 'schedules = ["tau", "eps", "gamma", "kappa"]',
}
DEFINITION = """
name = "bank"
[search]
benchmarks = ["resnet8-digits"]
trials = {trials}
epochs = 15
[sampler]
startup = {startup}
[space]
family = "composite"
{space}
"""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One run: its curve ends early if it diverged."""

    loss: LossSpec
    seed: int
    split: str
    reports: tuple[EpochReport, ...]

    @property
    def is_complete(self) -> bool:
        """Whether it was trained to its end."""
        return len(self.reports) == EPOCHS[self.split]

    @property
    def accuracy(self) -> list[float]:
        """In %, after each epoch."""
        return [report.accuracy for report in self.reports]


Key = tuple[LossSpec, int, str]
"""Loss, seed, split."""

Bank = dict[Key, Recorded]


@cache
def load(file: Path = FILE) -> Bank:
    """The bank that ships, or a recording that is still being made."""
    content = file.read_bytes()
    text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode()
    runs = [_read(line) for line in text.splitlines()]
    return {(run.loss, run.seed, run.split): run for run in runs}


def candidates(bank: Bank) -> list[LossSpec]:
    """The losses but cross-entropy that have every run, in the order in which they were tried."""
    losses = dict.fromkeys(loss for loss, _, _ in bank if loss != CROSS_ENTROPY)
    return [
        loss
        for loss in losses
        if all(
            (run := bank.get((loss, seed, "search"))) is not None and run.is_complete
            for seed in (*SEEDS, *HELD_OUT)
        )
    ]


def record(file: Path) -> None:
    """Train what the file does not hold yet, and append it run by run."""
    bank = dict(load(file)) if file.exists() else {}
    with file.open("a") as out:

        def run(loss: LossSpec, seed: int, split: str = "search") -> Recorded:
            key = (loss, seed, split)
            if key not in bank:
                bank[key] = _train(loss, seed, split)
                out.write(_text(bank[key]) + "\n")
                out.flush()
            return bank[key]

        composite = [loss for loss in published().values() if loss.family == "composite"]
        losses = [loss for loss in composite if loss != CROSS_ENTROPY]
        wanted = [(CROSS_ENTROPY, seed) for seed in CONTROL_SEEDS]
        wanted += [(loss, seed) for loss in losses for seed in SEEDS]
        for loss, seed in wanted:
            run(loss, seed)
        for space in SPACES:
            losses += _search(definition(space), run)
        for seed in NOISE_SEEDS:
            run(CROSS_ENTROPY, seed)
        for seed in EVALUATION_NOISE_SEEDS:
            run(CROSS_ENTROPY, seed, "evaluation")
        for loss, seed in product(losses, HELD_OUT):
            run(loss, seed)


def pack(file: Path) -> None:
    """Compress a recording into the bank that ships, the same bytes for the same runs."""
    text = "".join(_text(run) + "\n" for run in load(file).values())
    FILE.write_bytes(gzip.compress(text.encode(), mtime=0))


def definition(space: str) -> StudyDefinition:
    """A search without pruning in the space of one of the definitions that ship."""
    text = DEFINITION.format(trials=PROPOSALS, startup=STARTUP, space=SPACES[space])
    return parse(text, source="bank.toml")


def _search(rules: StudyDefinition, run: Callable[[LossSpec, int], Recorded]) -> list[LossSpec]:
    """What a search proposes when it is told the mean accuracy of what it proposed before."""
    study = optuna.create_study(direction="maximize")
    losses = []
    for number in range(rules.search.trials):
        study.sampler = make_sampler(rules, number)
        trial = study.ask()
        losses.append(suggest(trial, rules.space, rules.search.epochs))
        runs = [run(losses[-1], seed) for seed in SEEDS]
        if all(each.is_complete for each in runs):
            study.tell(trial, sum(each.accuracy[-1] for each in runs) / len(runs))
        else:
            study.tell(trial, state=TrialState.PRUNED)
    return losses


def _train(loss: LossSpec, seed: int, split: str) -> Recorded:
    protocol = benchmark(BENCHMARK)
    data = {"search": search_data, "evaluation": evaluation_data}[split](protocol)
    reports = []
    try:
        for report in train(protocol, loss, seed=seed, epochs=EPOCHS[split], data=data):
            reports.append(report)
    except Diverged:
        pass
    return Recorded(loss=loss, seed=seed, split=split, reports=tuple(reports))


def _text(run: Recorded) -> str:
    curves = {
        name: [float(f"{getattr(report, name):.5g}") for report in run.reports] for name in CURVES
    }
    facts = {"loss": run.loss.to_dict(), "seed": run.seed, "split": run.split}
    return json.dumps(facts | curves, separators=(",", ":"))


def _read(line: str) -> Recorded:
    fields = json.loads(line)
    loss, seed, split = (fields.pop(name) for name in ("loss", "seed", "split"))
    rows = zip(*fields.values(), strict=True)
    return Recorded(
        loss=LossSpec.from_dict(loss),
        seed=seed,
        split=split,
        reports=tuple(
            EpochReport(epoch=epoch, **dict(zip(fields, row, strict=True)))
            for epoch, row in enumerate(rows)
        ),
    )


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    {"record": record, "pack": pack}[sys.argv[1]](Path(sys.argv[2]))
