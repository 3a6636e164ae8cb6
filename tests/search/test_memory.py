from collections.abc import Iterable

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search import memory
from search.memory import Memory
from search.samplers import make_sampler
from search.space import suggest

R, C, P = TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED


def trial(number: int, state: TrialState) -> FrozenTrial:
    made = create_trial(state=state, value=-float(number) if state == C else None)
    made.number = number
    return made


def study_with_memory() -> tuple[optuna.Study, Memory]:
    storage = InMemoryStorage()
    study = optuna.create_study(direction="maximize", storage=storage)
    return study, Memory(study.study_name, storage)


def seen(states: Iterable[TrialState]) -> list[int]:
    _, held = study_with_memory()
    held.update([trial(number, state) for number, state in enumerate(states)])
    return [each.number for each in held.get_trials()]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], []),
        ([C, P, C, R], [0, 1, 2, 3]),
        ([C, P, C, P, C, C, P], [0, 2, 4, 5, 6]),  # the best are the first: 0 and 2
        ([R, P, P, P, P, P, C], [0, 4, 5, 6]),  # a trial at work is seen, however old
    ],
)
def test_of_many_trials_the_latest_and_the_best_are_seen(monkeypatch, states, expected):
    monkeypatch.setattr(memory, "LATEST", 3)
    monkeypatch.setattr(memory, "BEST", 2)
    assert seen(states) == expected


def test_a_look_may_ask_for_states():
    _, held = study_with_memory()
    held.update([trial(number, state) for number, state in enumerate([C, P, R])])
    assert [each.number for each in held.get_trials(states=(C, R))] == [0, 2]


def test_a_sampler_draws_what_it_would_draw_from_the_whole_study(tiny):
    study, held = study_with_memory()
    twins = [optuna.create_study(direction="maximize"), study]
    for number in range(12):
        plain, remembered = trials = [study.ask() for study in twins]
        held.update(study.get_trials(deepcopy=False))
        twins[0].sampler = make_sampler(tiny, number)
        study.sampler = make_sampler(tiny, number, held)
        for each in trials:
            suggest(each, tiny.space, tiny.search.epochs)
        assert remembered.params == plain.params
        if number % 3:  # every third stays at work: TPE keeps away from what others try
            for twin, each in zip(twins, trials, strict=True):
                twin.tell(each, -abs(each.params["m"] - 2.5))
