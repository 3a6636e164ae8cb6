"""How often a study says "better than", with recorded runs of cross-entropy as its candidates.

    python -m tests.replay.claims --studies 200

Every loss of a study is answered with a run of plain cross-entropy that no other loss or seed of
that study has had: nothing is better than anything. The study is whole: controls, TPE, pruning,
the ladder, the promotion with its claim fixed beforehand, the conclusion in words. Then the same
with a gain planted: a point of accuracy that the candidates have over cross-entropy, on the test
split alone, or in every epoch of every run.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from click import echo
from scipy.stats import beta

from search.executors import RunRequest
from studies.standings import CROSS_ENTROPY
from studies.view import StudyView
from tests.replay import bank
from tests.replay.executor import Replay
from tests.replay.study import open_database, replay_study
from training import EpochReport

STUDY = """
name = "replayed"
[search]
benchmarks = ["resnet8-digits"]
trials = 12
epochs = 15
seeds = 2
controls = 8
keep = 3
seed = {seed}
[space]
family = "composite"
parameters = ["m", "eps", "gamma", "a1"]
schedules = ["gamma"]
[sampler]
startup = 6
[screening]
duplicates = "keep"
[[ladder]]
epochs = 15
seeds = 3
keep = 2
[promotion]
automatic = true
top = 1
epochs = 10
controls = 8
detect = 1.0
against = ["label_smoothing"]
scales = []
scale_matched = false
"""

NOISE = {"search": bank.NOISE_SEEDS, "evaluation": bank.EVALUATION_NOISE_SEEDS}


@dataclass(frozen=True)
class Planted:
    """Points of accuracy that every other loss has over cross-entropy, by split."""

    name: str
    search: float = 0.0
    evaluation: float = 0.0


PLANTED = {
    each.name: each
    for each in (
        Planted("nothing"),
        Planted("one point on the test split", evaluation=1.0),
        Planted("one point in every run", search=1.0, evaluation=1.0),
    )
}


class Draw:
    """Gives each run that is asked for a recorded one of cross-entropy, none of them twice."""

    def __init__(self, runs: bank.Bank, planted: Planted, seed: int) -> None:
        by_split: dict[str, list[tuple[EpochReport, ...]]] = defaultdict(list)
        for (loss, run_seed, split), run in runs.items():
            if loss == CROSS_ENTROPY and run_seed in NOISE[split]:
                by_split[split].append(run.reports)
        for pool in by_split.values():
            random.Random(f"{planted.name}/{seed}").shuffle(pool)
        self._pools = by_split
        self._gain = {"search": planted.search, "evaluation": planted.evaluation}

    def __call__(self, request: RunRequest) -> Sequence[EpochReport]:
        """The reports of a run."""
        reports = self._pools[request.split].pop()
        if request.loss == CROSS_ENTROPY:
            return reports
        gain = self._gain[request.split]
        return [replace(each, accuracy=each.accuracy + gain) for each in reports]


def conclude(empty: Path, folder: Path, runs: bank.Bank, planted: Planted, seed: int) -> str:
    """What a study concludes, in words."""
    file = folder / "study.db"
    shutil.copy(empty, file)
    database = open_database(file)
    source = Draw(runs, planted, seed)
    definition = replay_study(database, STUDY.format(seed=seed), lambda: Replay(source))
    conclusion = StudyView.load(database, definition).conclusion
    database.close()
    for each in folder.glob(f"{file.name}*"):
        each.unlink()
    return conclusion or "no conclusion"


def count(runs: bank.Bank, planted: Planted, seeds: Sequence[int]) -> list[str]:
    """The conclusions of a study for each seed."""
    with tempfile.TemporaryDirectory(dir=_memory()) as scratch:
        folder = Path(scratch)
        empty = folder / "empty.db"
        open_database(empty).close()
        return [conclude(empty, folder, runs, planted, seed) for seed in seeds]


def interval(found: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share, in %."""
    low = beta.ppf(0.025, found, of - found + 1) if found else 0.0
    high = beta.ppf(0.975, found + 1, of - found) if found < of else 1.0
    return 100 * float(low), 100 * float(high)


def _memory() -> Path | None:
    """A file system in memory, where there is one: hundreds of databases come and go."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() else None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--bank", type=Path, default=bank.FILE)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    runs = bank.load(options.bank)
    echo('| planted | studies | "better than" | share | 95 % interval |')
    echo("| --- | ---: | ---: | ---: | ---: |")
    for planted in PLANTED.values():
        words = count(runs, planted, range(options.studies))
        found = sum("better than" in each for each in words)
        low, high = interval(found, len(words))
        share = 100 * found / len(words)
        cells = f"{len(words)} | {found} | {share:.1f} % | {low:.1f} to {high:.1f} %"
        echo(f"| {planted.name} | {cells} |")


if __name__ == "__main__":
    main()
