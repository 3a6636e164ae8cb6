"""Claims planned from the controls of a study that was run."""

from dataclasses import replace
from functools import partial

import pytest

from search.evaluation import Entry, evaluate
from search.executors import InProcess, Place
from search.ladder import load
from search.opening import open_optuna_study
from search.planning import plan, state, stated
from search.promotion import promotion_entries
from search.runs import Workbench
from studies import records
from studies.definition import EVALUATION_SEEDS
from studies.standings import CROSS_ENTROPY


@pytest.fixture
def planning(home, tiny):
    """Plans for the best of a study, by the gain that its definition asks for."""
    home.run(tiny, total=2)
    study = open_optuna_study(home.database.storage, tiny.name)
    with home.database.transaction() as session:
        row = records.find_study(session, tiny.name)
    bench = Workbench(
        database=home.database,
        executor=InProcess(Place(device="cpu")),
        checkpoints=home.settings.checkpoints,
        watcher=home.watcher,
        study_id=row.id,
    )

    def make(detect=None, seeds=None):
        rules = tiny.promotion.model_copy(update={"detect": detect})
        definition = tiny.model_copy(update={"promotion": rules})
        ladder = load(bench, definition, study)
        picks = ladder.picks()
        entries = partial(promotion_entries, definition, picks, [])
        return plan(bench, ladder, picks[0], entries, seeds=seeds, epochs=1)

    make.bench = bench
    return make


def test_as_many_seeds_are_planned_as_the_gain_needs(planning, tiny):
    given = planning(seeds=[42, 123, 456, 1001])
    assert (len(given.seeds), given.wanted) == (4, None)
    assert given.device == "cpu"
    assert given.protocols == {
        "resnet8-digits": planning.bench.executor.benchmark("resnet8-digits").digest
    }
    assert list(given.controls) == list(EVALUATION_SEEDS[:8])

    small, large = planning(detect=1e-3), planning(detect=1e3)
    assert tuple(small.seeds) == tuple(small.controls) == EVALUATION_SEEDS
    assert not small.suffices
    assert len(large.seeds) == 3
    between = planning(detect=(small.detectable + large.detectable) / 2)
    assert 3 < len(between.seeds) < 15
    assert between.detectable <= between.wanted
    fewer = planning(seeds=between.seeds[:-1])
    assert fewer.detectable > between.wanted

    # Once stated it stays.
    state(planning.bench, tiny, large)
    state(planning.bench, tiny, small)
    assert stated(planning.bench, tiny) == replace(
        large, seeds=list(large.seeds), controls=list(large.controls)
    )


def test_evaluations_of_cross_entropy_say_more_than_the_last_rung(planning):
    before = planning(seeds=[42, 123, 456])
    entry = Entry(name="cross_entropy", spec=CROSS_ENTROPY, seeds=EVALUATION_SEEDS[:8])
    evaluate(planning.bench, [entry], ["resnet8-digits"], 1)
    assert planning(seeds=[42, 123, 456]).detectable != before.detectable
