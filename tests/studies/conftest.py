"""Studies that were never trained: stored runs with made-up curves, and trials to go with them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import FrozenTrial, TrialState, create_trial

from losses import LossSpec, published
from search.executors import Place
from search.launch import Settings, run_study
from search.opening import open_optuna_study
from studies import records
from studies.database import Database, parse_url
from studies.definition import StudyDefinition
from studies.reading import parse
from studies.tables import Evaluation, Run, Study
from training import benchmark

KEPT = """
name = "kept"
description = "Made-up curves & <script>alert('description')</script>"
[search]
benchmarks = ["resnet8-digits"]
trials = 8
epochs = 2
seeds = 2
keep = 3
[space]
family = "composite"
parameters = ["eps", "gamma"]
[[ladder]]
epochs = 2
seeds = 2
keep = 2
[[ladder]]
epochs = 4
seeds = 2
keep = 1
[promotion]
epochs = 2
against = ["focal"]
"""

REAL = """
name = "real"
[search]
benchmarks = ["resnet8-digits"]
trials = 5
epochs = 1
seeds = 1
keep = 1
[space]
family = "composite"
parameters = ["m", "eps", "gamma", "a1"]
[[ladder]]
epochs = 1
seeds = 1
keep = 1
[promotion]
automatic = true
epochs = 1
seeds = [42, 123]
controls = 8
against = []
"""

EVALUATION_SEEDS = (42, 123, 456, 1001, 1002, 1003, 1004, 1005, 1006)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def definition() -> StudyDefinition:
    return parse(KEPT, source="kept.toml")


def made_run(
    loss: LossSpec,
    seed: int,
    final: float,
    *,
    epochs: int = 2,
    split: str = "search",
    **key: Any,
) -> Run:
    """A run that ends at an accuracy of ``final`` percent, ten points an epoch up to it."""
    name = key.get("benchmark", "resnet8-digits")
    whole = {
        "benchmark": name,
        "protocol": benchmark(name).digest,
        "device": "cpu",
        "outcome": "complete",
        "seconds": 1.5,
    }
    accuracy = [final - 10.0 * (epochs - 1 - epoch) for epoch in range(epochs)]
    losses = [1.0 / (epoch + 1) for epoch in range(epochs)]
    return Run(
        **(whole | key),
        loss_id=loss.id,
        spec=loss.to_json(),
        seed=seed,
        epochs=epochs,
        split=split,
        curves={"accuracy": accuracy, "train_loss": losses, "cross_entropy": losses},
    )


@pytest.fixture
def make_run() -> Callable[..., Run]:
    return made_run


@pytest.fixture
def make_evaluation() -> Callable[..., Evaluation]:
    """A loss on the test split, in memory alone."""

    def make(
        loss: LossSpec,
        seed: int,
        final: float,
        *,
        name: str | None = None,
        trial: int | None = None,
        **key: Any,
    ) -> Evaluation:
        name = name or (f"trial {trial}" if trial is not None else loss.label)
        run = made_run(loss, seed, final, split="evaluation", **key)
        return Evaluation(name=name, trial=trial, run=run)

    return make


@pytest.fixture
def evaluated(make_evaluation: Callable[..., Evaluation]) -> Callable[..., list[Evaluation]]:
    """Evaluations of a loss on the first seeds, one for each final accuracy."""

    def make(loss: LossSpec, finals: Sequence[float], **key: object) -> list[Evaluation]:
        return [
            make_evaluation(loss, seed, final, **key)
            for seed, final in zip(EVALUATION_SEEDS, finals, strict=False)
        ]

    return make


@pytest.fixture
def controls(evaluated: Callable[..., list[Evaluation]]) -> Callable[..., list[Evaluation]]:
    """Cross-entropy: 80 % on the mean of eight seeds, and of the first three."""

    def make(count: int = 8, **key: object) -> list[Evaluation]:
        return evaluated(
            published()["cross_entropy"], [81, 79, 80, 81, 79, 80, 81, 79][:count], **key
        )

    return make


def made_trial(
    loss: LossSpec | None, value: float | None = None, state: str = "COMPLETE", **attributes: Any
) -> FrozenTrial:
    """A trial as the coordinator would leave it; waiting ones have no loss yet."""
    if loss is not None:
        attributes["spec"] = loss.to_dict()
    if state == "COMPLETE":
        attributes = {"outcome": "complete", "reason": "", "standard_error": 0.25} | attributes
    return create_trial(
        state=TrialState[state],
        value=value,
        user_attrs=attributes,
        intermediate_values={} if loss is None else {0: -1.0},
    )


@pytest.fixture
def make_trial() -> Callable[..., FrozenTrial]:
    return made_trial


class Kept:
    """A study in a database of its own, filled row by row."""

    def __init__(self, database: Database, definition: StudyDefinition, text: str = KEPT) -> None:
        self.database = database
        self.definition = definition
        self.study = open_optuna_study(database.storage, definition.name)
        with database.transaction() as session:
            row = records.find_study(session, definition.name)
            if row is None:
                row = Study(name=definition.name, definition=text, total=definition.search.trials)
                session.add(row)
        self.id = row.id

    def add_trial(self, *given: Any, **attributes: Any) -> int:
        self.study.add_trial(made_trial(*given, **attributes))
        return len(self.study.get_trials(deepcopy=False)) - 1

    def add_run(self, *given: Any, **key: Any) -> int:
        with self.database.transaction() as session:
            return records.add_run(session, made_run(*given, **key)).id

    def add_controls(self, rung: int = 0, epochs: int = 2, **key: Any) -> None:
        """Cross-entropy at a rung: 80 % give or take a point, seed by seed."""
        cross_entropy = published()["cross_entropy"]
        ids = [
            self.add_run(cross_entropy, seed, 80 + (-1) ** index, epochs=epochs, **key)
            for index, seed in enumerate(self.definition.control_seeds(rung))
        ]
        with self.database.transaction() as session:
            records.use_controls(session, self.id, ids)

    def climb(self, rung: int, loss: LossSpec, gain: float, **key: Any) -> None:
        """A candidate's runs at a rung: so many points over their controls."""
        epochs = self.definition.rungs[rung].epochs
        for index, seed in enumerate(self.definition.seeds(rung)):
            self.add_run(loss, seed, 80 + gain + (-1) ** index, epochs=epochs, **key)

    def evaluate(
        self, loss: LossSpec, finals: Sequence[float], *, name: str = "", trial: int | None = None
    ) -> None:
        """A loss on the test split, on the first evaluation seeds."""
        for seed, final in zip(EVALUATION_SEEDS, finals, strict=False):
            run_id = self.add_run(loss, seed, final, split="evaluation")
            with self.database.transaction() as session:
                records.add_evaluation(
                    session,
                    name=name or f"trial {trial}",
                    run_id=run_id,
                    study_id=self.id,
                    trial=trial,
                )

    def claim(self, loss: LossSpec, trial: int) -> None:
        with self.database.transaction() as session:
            row = records.find_study(session, self.definition.name)
            assert row is not None
            row.primary_claim = {
                "trial": trial,
                "loss": loss.id,
                "against": "cross_entropy",
                "seeds": [42, 123, 456],
                "epochs": {"resnet8-digits": 2},
            }


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    database = Database(parse_url(f"sqlite:///{path}"))
    yield database
    database.close()


# Making the tables and filling them takes most of a second: each stage of a study is made once,
# and a test gets a copy.


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A database without a study, one whose study is up its ladder, and one where it is done."""
    folder = tmp_path_factory.mktemp("stages")
    paths = {stage: folder / f"{stage}.db" for stage in ("empty", "climbed", "promoted")}
    definition = parse(KEPT, source="kept.toml")
    with opened(paths["empty"]):
        pass
    shutil.copy(paths["empty"], paths["climbed"])
    with opened(paths["climbed"]) as database:
        climb(Kept(database, definition))
    shutil.copy(paths["climbed"], paths["promoted"])
    with opened(paths["promoted"]) as database:
        promote(Kept(database, definition))
    return paths


def climb(kept: Kept) -> None:
    """Five trials, of which two climb the whole ladder; nothing has seen the test split."""
    losses = published()
    kept.add_controls()
    kept.add_trial(losses["cross_entropy"], 0.5, baseline="cross_entropy")
    kept.add_trial(losses["focal"], 2.0, baseline="focal")
    kept.add_trial(losses["poly1"], 1.0)
    kept.add_trial(losses["label_smoothing"], 3.0)
    kept.add_trial(losses["temperature"], state="PRUNED", outcome="pruned", reason="fell behind")
    for name, gain in (("focal", 2.0), ("poly1", 1.0), ("label_smoothing", 3.0)):
        kept.climb(0, losses[name], gain)
    kept.add_controls(rung=1)
    for name, gain in (("focal", 2.5), ("poly1", 0.1), ("label_smoothing", 1.5)):
        kept.climb(1, losses[name], gain)
    kept.add_controls(rung=2, epochs=4)
    for name, gain in (("focal", 0.2), ("label_smoothing", 0.9)):
        kept.climb(2, losses[name], gain)


def promote(kept: Kept) -> None:
    """The pick is evaluated: three points above eight cross-entropy runs."""
    losses = published()
    kept.claim(losses["label_smoothing"], 3)
    kept.evaluate(losses["cross_entropy"], [81, 79, 80, 81, 79, 80, 81, 79], name="cross_entropy")
    kept.evaluate(losses["focal"], [81, 79.5, 80.5], name="focal")
    kept.evaluate(losses["label_smoothing"], [84, 82, 83], trial=3)


@pytest.fixture
def database(files: dict[str, Path], tmp_path: Path) -> Iterator[Database]:
    shutil.copy(files["empty"], tmp_path / "losscout.db")
    with opened(tmp_path / "losscout.db") as made:
        yield made


@pytest.fixture
def kept(database: Database, definition: StudyDefinition) -> Kept:
    """A study that has just begun."""
    return Kept(database, definition)


@pytest.fixture
def climbed(files: dict[str, Path], tmp_path: Path, definition: StudyDefinition) -> Iterator[Kept]:
    shutil.copy(files["climbed"], tmp_path / "losscout.db")
    with opened(tmp_path / "losscout.db") as database:
        yield Kept(database, definition)


@pytest.fixture
def promoted(
    files: dict[str, Path], tmp_path: Path, definition: StudyDefinition
) -> Iterator[Kept]:
    shutil.copy(files["promoted"], tmp_path / "losscout.db")
    with opened(tmp_path / "losscout.db") as database:
        yield Kept(database, definition)


@pytest.fixture(scope="session")
def done(files: dict[str, Path]) -> Iterator[Kept]:
    """A promoted study that all tests share, to read."""
    with opened(files["promoted"]) as database:
        yield Kept(database, parse(KEPT, source="kept.toml"))


class Quiet:
    """A watcher that looks away."""

    def phase(self, name: str, epochs: int) -> None: ...

    def worked(self, epochs: int) -> None: ...

    def trial(self, update: Any) -> None: ...

    def note(self, text: str) -> None: ...


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, StudyDefinition]]:
    """A whole study on real digits, as a user's own: searched, climbed and promoted."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("real")
    database = Database(parse_url(f"sqlite:///{folder / 'losscout.db'}"))
    definition = parse(REAL, source="real.toml")

    @contextmanager
    def watching(plan: dict[str, int]) -> Iterator[Quiet]:
        yield Quiet()

    run_study(
        Settings(database=database, checkpoints=folder / "checkpoints", place=Place(device="cpu")),
        definition,
        REAL,
        total=definition.search.trials,
        amend=False,
        watching=watching,
    )
    yield database, definition
    database.close()
