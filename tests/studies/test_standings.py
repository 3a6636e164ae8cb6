from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from losses import LossSpec, published
from studies.definition import StudyDefinition
from studies.standings import Finished, Ladder, finished, spec_of
from studies.tables import Run

LOSSES = published()
CROSS_ENTROPY, FOCAL, POLY1, SMOOTHING = (
    LOSSES[name] for name in ("cross_entropy", "focal", "poly1", "label_smoothing")
)


@dataclass
class Made:
    """A ladder whose controls lie at 79 and 81 % in turn, and runs at a gain over them."""

    definition: StudyDefinition
    make_run: object
    finished: list[Finished] = field(default_factory=list)
    controls: list[Run] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def tried(self, spec: LossSpec, value: float) -> None:
        self.finished.append(Finished(len(self.finished), spec, value))

    def controlled(self, rung: int) -> None:
        epochs = self.definition.rungs[rung].epochs
        self.controls += [
            self.make_run(CROSS_ENTROPY, seed, 80 + (-1) ** index, epochs=epochs)
            for index, seed in enumerate(self.definition.control_seeds(rung))
        ]

    def climbed(self, rung: int, spec: LossSpec, gain: float, **key: object) -> None:
        epochs = self.definition.rungs[rung].epochs
        self.runs += [
            self.make_run(spec, seed, 80 + gain + (-1) ** index, epochs=epochs, **key)
            for index, seed in enumerate(self.definition.seeds(rung))
        ]

    @property
    def ladder(self) -> Ladder:
        return Ladder(
            definition=self.definition,
            finished=self.finished,
            controls=self.controls,
            runs=self.runs,
        )


@pytest.fixture
def made(definition: StudyDefinition, make_run) -> Made:
    return Made(definition, make_run)


@pytest.fixture
def three(made: Made) -> Made:
    """Three candidates at the first rung after the search: poly1 is the best there."""
    for spec, value, gain in ((FOCAL, 1, 0.5), (POLY1, 2, 3.0), (SMOOTHING, 3, 1.0)):
        made.tried(spec, value)
        made.climbed(1, spec, gain)
    made.controlled(1)
    return made


def numbers(candidates) -> list[int]:
    return [each.number for each in candidates]


def test_finished_trials_are_the_complete_ones(make_trial) -> None:
    trials = [
        make_trial(FOCAL, 1.5),
        make_trial(POLY1, state="PRUNED", outcome="pruned"),
        make_trial(POLY1, state="PRUNED", outcome="diverged"),
        make_trial(POLY1, state="FAIL", outcome="worker_died"),
        make_trial(POLY1, state="RUNNING"),
        make_trial(None, state="WAITING"),
    ]
    found = finished(trials)
    assert [(each.spec, each.value) for each in found] == [(FOCAL, 1.5)]


def test_a_trials_loss_is_read_from_its_attribute(make_trial) -> None:
    scheduled = LossSpec(
        parameters={"gamma": {"shape": "linear", "start": 0.0, "end": 2.0}, "eps": 0.1}
    )
    assert spec_of(make_trial(scheduled, 1.0)) == scheduled


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        ([], []),
        ([(FOCAL, 1), (POLY1, 3), (SMOOTHING, 2)], [1, 2, 0]),  # the best first
        ([(FOCAL, 1), (POLY1, 1)], [0, 1]),  # of two alike, the earlier
        ([(FOCAL, 1), (POLY1, 2), (FOCAL, 3)], [2, 1]),  # a loss stands once, at its best
        ([(CROSS_ENTROPY, 9), (FOCAL, -1)], [1]),  # what gains are measured against
        (
            [(FOCAL, 1), (POLY1, 2), (SMOOTHING, 3), (LOSSES["temperature"], 4)],
            [3, 2, 1],  # search.keep
        ),
    ],
)
def test_the_searchs_best_enter_the_ladder(made: Made, tried, expected: list[int]) -> None:
    for spec, value in tried:
        made.tried(spec, value)
    assert numbers(made.ladder.candidates(1)) == expected


def test_a_rung_is_read_off_its_own_seeds(three: Made) -> None:
    standings = three.ladder.standings(1)
    assert numbers(standings) == [1, 2, 0]
    assert [each.gain.mean for each in standings] == pytest.approx([3.0, 1.0, 0.5])
    assert [each.stays for each in standings] == [True, True, False]
    assert [each.spec for each in standings] == [POLY1, SMOOTHING, FOCAL]


def test_who_stays_enters_the_next_rung(three: Made) -> None:
    assert numbers(three.ladder.candidates(2)) == [1, 2]
    assert three.ladder.standings(2) == []
    assert three.ladder.picks() == []
    for spec, gain in ((POLY1, 0.0), (SMOOTHING, 1.0)):
        three.climbed(2, spec, gain)
    three.controlled(2)
    assert numbers(three.ladder.standings(2)) == [2, 1]
    assert numbers(three.ladder.picks()) == [2]


def test_without_a_ladder_the_searchs_best_are_the_picks(definition, make_run) -> None:
    made = Made(definition.model_copy(update={"ladder": []}), make_run)
    made.tried(FOCAL, 1)
    assert numbers(made.ladder.picks()) == [0]


def test_a_rung_with_a_run_missing_is_empty(three: Made) -> None:
    missing = three.runs.pop()
    assert three.ladder.standings(1) == []
    assert three.ladder.candidates(2) == []
    three.runs.append(missing)
    assert three.ladder.standings(1) != []


def test_a_rung_whose_controls_are_missing_is_empty(three: Made) -> None:
    """Its runs may be another study's, which are there before this one's controls."""
    three.controls.clear()
    assert three.ladder.standings(1) == []
    assert three.ladder.expectations(2) == {}


def test_who_diverges_at_a_rung_is_out(three: Made) -> None:
    three.runs[2].outcome = "diverged"
    three.runs[2].curves = {"accuracy": [10.0]}
    assert three.runs[2].loss_id == POLY1.id
    assert numbers(three.ladder.standings(1)) == [2, 0]
    assert numbers(three.ladder.candidates(2)) == [2, 0]


def test_a_rung_where_all_diverge_has_nobody(three: Made) -> None:
    for run in three.runs:
        run.outcome = "diverged"
    assert three.ladder.standings(1) == []
    assert three.ladder.picks() == []


@pytest.mark.parametrize("epochs", [2, 4])
def test_expectations_rest_on_one_fidelity(made: Made, epochs: int) -> None:
    made.controlled(0)
    made.controlled(2)
    expectation = made.ladder.expectations(epochs)["resnet8-digits"]
    assert len(expectation.rho_E) == epochs
    assert len(expectation.controls) == 8


def test_the_controls_are_not_paired_with_themselves(made: Made) -> None:
    made.controlled(0)
    made.tried(CROSS_ENTROPY, 0.0)
    alone = made.ladder.expectations(2)["resnet8-digits"]
    made.runs += made.controls  # found beside the cross-entropy trial's own, by their loss
    beside = made.ladder.expectations(2)["resnet8-digits"]
    assert beside.rho_E == pytest.approx(alone.rho_E)
    assert beside.freedom == alone.freedom


def test_the_candidates_runs_say_how_much_is_shared(made: Made) -> None:
    made.controlled(0)
    alone = made.ladder.expectations(2)["resnet8-digits"]
    made.tried(FOCAL, 1.0)
    made.climbed(0, FOCAL, 1.0)  # moves with its controls
    beside = made.ladder.expectations(2)["resnet8-digits"]
    assert beside.rho_E[-1] > alone.rho_E[-1]
    assert beside.freedom == alone.freedom + 1


def test_a_ladder_is_loaded_on_the_device_of_its_last_controls(kept, make_trial) -> None:
    kept.add_controls()
    kept.climb(0, FOCAL, 1.0)
    kept.add_controls(device="cuda")
    kept.climb(0, FOCAL, 2.0, device="cuda")
    kept.climb(0, POLY1, 2.0, device="cuda")
    with kept.database.transaction() as session:
        ladder = Ladder.load(session, kept.id, kept.definition, [make_trial(FOCAL, 1.0)])
    assert {run.device for run in [*ladder.controls, *ladder.runs]} == {"cuda"}
    assert len(ladder.controls) == 8
    # Those of complete trials, and of poly1, which has no trial and so may be a reference.
    assert [run.loss_id for run in ladder.runs] == [FOCAL.id] * 2 + [POLY1.id] * 2
