"""Where every candidate stands at every rung of the ladder, read from the stored runs alone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

from losses import AnyLoss, LossSpec, published
from studies import records
from studies.definition import StudyDefinition
from studies.gains import Expectation, Gain, Pair, mean_gain
from studies.tables import Run

CROSS_ENTROPY = published()["cross_entropy"]

BASELINES = ("cross_entropy", "label_smoothing", "focal", "poly1")
"""Published losses that open every study, so that what is found stands beside them; the first is
what gains are measured against."""


def published_name(spec: AnyLoss) -> str | None:
    """The name under which a loss was published, if it was: then nothing new was found."""
    return next((name for name, known in published().items() if known == spec), None)


@dataclass(frozen=True)
class Finished:
    """A complete trial: its gain at search fidelity is the value that Optuna was told."""

    number: int
    spec: LossSpec
    value: float


def finished(trials: Sequence[FrozenTrial]) -> list[Finished]:
    """The complete trials."""
    return [
        Finished(trial.number, spec_of(trial), float(trial.value or 0.0))
        for trial in trials
        if trial.state == TrialState.COMPLETE
    ]


def spec_of(trial: FrozenTrial) -> LossSpec:
    """The loss that a trial tries or tried, from the user attribute that every trial carries."""
    return LossSpec.from_json(json.dumps(trial.user_attrs["spec"]))


@dataclass(frozen=True)
class Standing:
    """A candidate at a rung: its gain there (on seeds not seen before), and whether it stays."""

    number: int
    spec: LossSpec
    gain: Gain
    stays: bool


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """A study's stored runs, sorted so that every rung can be read off them.

    Attributes:
        references: the baselines that lie outside the space, by name: they have no trial.
    """

    definition: StudyDefinition
    finished: Sequence[Finished]
    controls: Sequence[Run]
    runs: Sequence[Run]
    references: Mapping[str, LossSpec] = field(default_factory=dict)
    _by_run: dict[tuple[str, int, int, str], Run] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for run in self.runs:
            if run.outcome == "complete":
                self._by_run[run.loss_id, run.epochs, run.seed, run.benchmark] = run

    @classmethod
    def load(
        cls,
        session: Session,
        study_id: int,
        definition: StudyDefinition,
        trials: Sequence[FrozenTrial],
    ) -> Ladder:
        """Read a study's ladder, by the protocols and on the kind of device that it ran last."""
        controls = records.controls(session, study_id)
        device = controls[-1].device if controls else "cpu"
        protocols = {run.benchmark: run.protocol for run in controls if run.device == device}
        complete = finished(trials)
        tried = {trial.user_attrs.get("baseline") for trial in trials}
        references = {name: published()[name] for name in BASELINES[1:] if name not in tried}
        runs = records.search_runs(
            session,
            loss_ids={spec.id for spec in (*(e.spec for e in complete), *references.values())},
            protocols=protocols.values(),
            device=device,
        )
        return cls(
            definition=definition,
            finished=complete,
            controls=[
                run
                for run in controls
                if run.device == device and run.protocol == protocols[run.benchmark]
            ],
            runs=runs,
            references=references,
        )

    def expectations(self, epochs: int) -> dict[str, Expectation]:
        """What cross-entropy gives at a fidelity, by benchmark, from all that was run at it.

        Empty before the study's controls there are trained.
        """
        controls: dict[str, dict[int, list[float]]] = defaultdict(dict)
        for run in self.controls:
            if run.epochs == epochs:
                controls[run.benchmark][run.seed] = run.curves["accuracy"]
        pairs: dict[str, list[Pair]] = defaultdict(list)
        for (loss_id, run_epochs, seed, benchmark), run in self._by_run.items():
            # The controls paired with themselves would say that runs share everything.
            if run_epochs == epochs and loss_id != CROSS_ENTROPY.id:
                pairs[benchmark].append(Pair(loss_id, seed, run.curves["accuracy"]))
        names = self.definition.search.benchmarks
        if any(len(controls[name]) < 2 for name in names):
            return {}
        return {name: Expectation.estimate(controls[name], pairs[name]) for name in names}

    def reference_gains(self) -> dict[str, Gain]:
        """The gains of the references at search fidelity, those whose runs are complete."""
        expectations = self.expectations(self.definition.search.epochs)
        gains = {}
        for name, spec in self.references.items():
            by_benchmark = [
                self._gain(
                    expectation,
                    spec,
                    self.definition.search.epochs,
                    benchmark,
                    self.definition.seeds(0),
                )
                for benchmark, expectation in expectations.items()
            ]
            known = [gain for gain in by_benchmark if gain is not None]
            if known and len(known) == len(by_benchmark):
                gains[name] = mean_gain(known)
        return gains

    def candidates(self, rung: int) -> list[Finished]:
        """Who enters a rung: at the first after the search, its best; later, who stayed."""
        if rung > 1:
            numbers = [each.number for each in self.standings(rung - 1) if each.stays]
            entered = {each.number: each for each in self.finished}
            return [entered[number] for number in numbers]
        # Cross-entropy is what gains are measured against, and a loss stands once however
        # often it was tried.
        best: dict[str, Finished] = {}
        for each in sorted(self.finished, key=lambda each: (-each.value, each.number)):
            if each.spec != CROSS_ENTROPY:
                best.setdefault(each.spec.id, each)
        return list(best.values())[: self.definition.search.keep]

    def standings(self, rung: int) -> list[Standing]:
        """The candidates of a rung after the search, the best first; empty while runs are missing.

        A candidate that diverged there is out.
        """
        rule, seeds = self.definition.rungs[rung], self.definition.seeds(rung)
        entered = self.candidates(rung)
        if not self.is_complete(rung, entered):
            return []
        expectations = self.expectations(rule.epochs)
        if not expectations:
            return []
        gains = []
        for each in entered:
            by_benchmark = [
                self._gain(expectations[name], each.spec, rule.epochs, name, seeds)
                for name in self.definition.search.benchmarks
            ]
            known = [gain for gain in by_benchmark if gain is not None]
            if len(known) == len(by_benchmark):
                gains.append((each, mean_gain(known)))
        gains.sort(key=lambda pair: (-pair[1].mean, pair[0].number))
        return [
            Standing(each.number, each.spec, gain, stays=place < rule.keep)
            for place, (each, gain) in enumerate(gains)
        ]

    def is_complete(self, rung: int, entered: Sequence[Finished]) -> bool:
        """Whether every candidate has ended all its runs of a rung, one way or another."""
        epochs, seeds = self.definition.rungs[rung].epochs, self.definition.seeds(rung)
        ended = {(run.loss_id, run.epochs, run.seed, run.benchmark) for run in self.runs}
        return bool(entered) and all(
            (each.spec.id, epochs, seed, benchmark) in ended
            for each in entered
            for seed in seeds
            for benchmark in self.definition.search.benchmarks
        )

    def picks(self) -> list[Finished]:
        """Who has climbed the whole ladder, the best first."""
        return self.candidates(len(self.definition.rungs))

    def _gain(
        self,
        expectation: Expectation,
        spec: LossSpec,
        epochs: int,
        benchmark: str,
        seeds: Sequence[int],
    ) -> Gain | None:
        runs: Mapping[int, Run | None] = {
            seed: self._by_run.get((spec.id, epochs, seed, benchmark)) for seed in seeds
        }
        curves = {seed: run.curves["accuracy"] for seed, run in runs.items() if run is not None}
        return expectation.gain(curves) if len(curves) == len(seeds) else None
