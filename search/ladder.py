"""The ladder: controls for every rung, candidates on fresh seeds, and who stays."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from search.coordinator import Controls
from search.executors import RunRequest
from search.queueing import references
from search.runs import Wanted, Workbench, complete
from studies import records
from studies.definition import StudyDefinition
from studies.standings import CROSS_ENTROPY, Ladder, Standing


def train_controls(bench: Workbench, definition: StudyDefinition, rung: int) -> Controls:
    """Train cross-entropy at a rung's fidelity, on the seeds of its candidates and some more.

    Returns:
        The accuracy curves (%) of the study's controls at that fidelity, by benchmark and seed.
    """
    epochs = definition.rungs[rung].epochs
    benchmarks = definition.search.benchmarks
    known = _known_controls(bench, definition, epochs)
    seeds = definition.seeds(rung)
    # Earlier rungs at this fidelity have controls too: together they must be enough.
    missing = definition.search.controls - len({*known[benchmarks[0]], *seeds})
    more = [seed for seed in definition.control_seeds(rung) if seed not in seeds]
    seeds = [*seeds, *more[: max(0, missing)]]
    wanted = [
        Wanted(RunRequest(benchmark=name, loss=CROSS_ENTROPY, seed=seed, epochs=epochs))
        for seed in seeds
        for name in benchmarks
    ]
    phase = "controls" if rung == 0 else f"controls of rung {rung}"
    runs = complete(bench, wanted, phase)
    with bench.database.transaction() as session:
        records.use_controls(session, _study(bench), [run.id for run in runs.values()])
    return _known_controls(bench, definition, epochs)


def train_references(bench: Workbench, definition: StudyDefinition) -> None:
    """Train the baselines that lie outside the space as the trials are, so that they compare."""
    wanted = [
        Wanted(RunRequest(benchmark=name, loss=spec, seed=seed, epochs=definition.search.epochs))
        for spec in references(definition).values()
        for seed in definition.seeds(0)
        for name in definition.search.benchmarks
    ]
    complete(bench, wanted, "references")


def climb(
    bench: Workbench, definition: StudyDefinition, study: optuna.Study, rung: int
) -> Sequence[Standing]:
    """Bring a rung's candidates to its fidelity, and see who stays."""
    ladder = load(bench, definition, study)
    rule, seeds = definition.rungs[rung], definition.seeds(rung)
    entered = ladder.candidates(rung)
    if not entered:
        return []
    train_controls(bench, definition, rung)
    wanted = [
        Wanted(
            RunRequest(benchmark=name, loss=each.spec, seed=seed, epochs=rule.epochs), each.number
        )
        for each in entered
        for seed in seeds
        for name in definition.search.benchmarks
    ]
    complete(bench, wanted, f"rung {rung}")
    return load(bench, definition, study).standings(rung)


def load(bench: Workbench, definition: StudyDefinition, study: optuna.Study) -> Ladder:
    """The ladder as it is stored now."""
    with bench.database.transaction() as session:
        trials = study.get_trials(deepcopy=False)
        return Ladder.load(session, _study(bench), definition, trials)


def _known_controls(bench: Workbench, definition: StudyDefinition, epochs: int) -> Controls:
    curves: dict[str, dict[int, list[float]]] = {name: {} for name in definition.search.benchmarks}
    fidelities = {
        (name, bench.executor.benchmark(name).digest, epochs, bench.executor.device)
        for name in curves
    }
    with bench.database.transaction() as session:
        for run in records.controls(session, _study(bench)):
            if (run.benchmark, run.protocol, run.epochs, run.device) in fidelities:
                curves[run.benchmark][run.seed] = run.curves["accuracy"]
    return curves


def _study(bench: Workbench) -> int:
    if bench.study_id is None:
        raise ValueError("a ladder belongs to a study but the workbench has none")
    return bench.study_id
