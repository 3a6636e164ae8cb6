from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from dataclasses import replace

import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import URL

from losses import published
from studies import records
from studies.database import Database
from studies.records import RunKey
from studies.tables import Evaluation, Opening, Provenance, Run, Study
from training import benchmark

FOCAL = published()["focal"]
KEY = RunKey(
    benchmark="resnet8-digits",
    protocol=benchmark("resnet8-digits").digest,
    loss_id=FOCAL.id,
    seed=2001,
    epochs=2,
    split="search",
    device="cpu",
)

WRITE = """
import sys
from studies import records
from studies.database import Database, parse_url
database = Database(parse_url(sys.argv[1]))
with database.transaction() as session:
    records.open_test_split(
        session, benchmark="resnet8-digits", loss_id="x", seed=42, epochs=2, study_id=None
    )
database.close()
"""


def count(database: Database, table: type) -> int:
    with database.transaction() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def a_study(database: Database, name: str = "a") -> int:
    with database.transaction() as session:
        study = Study(name=name, definition="", total=1)
        session.add(study)
    return study.id


def an_opening(database: Database, study_id: int | None = None) -> None:
    with database.transaction() as session:
        records.open_test_split(
            session,
            benchmark="resnet8-digits",
            loss_id=FOCAL.id,
            seed=42,
            epochs=2,
            study_id=study_id,
        )


def test_a_run_comes_back_as_it_was(database: Database, make_run) -> None:
    with database.transaction() as session:
        kept = records.add_run(session, make_run(FOCAL, 2001, 91.25))
    with database.transaction() as session:
        found = records.find_run(session, KEY)
    assert found is not None
    assert found.id == kept.id
    assert found.curves["accuracy"] == [81.25, 91.25]
    assert (found.final_accuracy, found.best_accuracy) == (91.25, 91.25)
    assert (found.spec, found.seconds, found.outcome) == (FOCAL.to_json(), 1.5, "complete")


def test_the_best_accuracy_need_not_be_the_final_one(make_run) -> None:
    run = make_run(FOCAL, 2001, 90)
    run.curves["accuracy"] = [95.0, 90.0]
    assert (run.final_accuracy, run.best_accuracy) == (90.0, 95.0)


@pytest.mark.parametrize(
    "change",
    [
        {"benchmark": "resnet20-cifar10"},
        {"protocol": "0" * 12},
        {"loss_id": "0" * 12},
        {"seed": 2002},
        {"epochs": 3},
        {"split": "evaluation"},
        {"device": "cuda"},
    ],
)
def test_a_run_is_found_by_its_whole_key(database: Database, make_run, change: dict) -> None:
    with database.transaction() as session:
        records.add_run(session, make_run(FOCAL, 2001, 90))
        assert records.find_run(session, KEY) is not None
        assert records.find_run(session, replace(KEY, **change)) is None


@pytest.mark.parametrize("outcome", ["diverged", "pruned"])
def test_only_a_complete_run_is_found(database: Database, make_run, outcome: str) -> None:
    with database.transaction() as session:
        records.add_run(session, make_run(FOCAL, 2001, 90, outcome=outcome))
        assert records.find_run(session, KEY) is None
        complete = records.add_run(session, make_run(FOCAL, 2001, 90))
        assert records.find_run(session, KEY) is complete


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_json_does_not_know_is_kept_as_null(database: Database, make_run, value) -> None:
    run = make_run(FOCAL, 2001, 90)
    run.curves["cross_entropy"] = [1.0, value]
    with database.transaction() as session:
        records.add_run(session, run)
    with database.transaction() as session:
        found = records.find_run(session, KEY)
        assert found is not None
        assert found.curves["cross_entropy"] == [1.0, None]


def test_search_runs_are_of_these_losses_benchmarks_and_device(
    database: Database, make_run
) -> None:
    poly1 = published()["poly1"]
    with database.transaction() as session:
        for run in (
            make_run(FOCAL, 2002, 90),
            make_run(FOCAL, 2001, 90, outcome="diverged"),
            make_run(poly1, 2001, 90),
            make_run(FOCAL, 2003, 90, device="cuda"),
            make_run(FOCAL, 2004, 90, split="evaluation"),
            make_run(FOCAL, 2005, 90, benchmark="resnet20-cifar10"),
            make_run(FOCAL, 2006, 90, protocol="0" * 12),
        ):
            records.add_run(session, run)
        found = records.search_runs(
            session,
            loss_ids={FOCAL.id},
            protocols=[benchmark("resnet8-digits").digest],
            device="cpu",
        )
    assert [run.seed for run in found] == [2002, 2001]  # as they ended


def test_controls_are_a_studys_own_and_stand_once(database: Database, make_run) -> None:
    mine, other = a_study(database, "mine"), a_study(database, "other")
    with database.transaction() as session:
        ids = [records.add_run(session, make_run(FOCAL, seed, 80)).id for seed in (1, 2, 3)]
        records.use_controls(session, mine, ids[:2])
        records.use_controls(session, mine, ids[1:])
        records.use_controls(session, other, ids[:1])
    with database.transaction() as session:
        assert [run.id for run in records.controls(session, mine)] == ids
        assert [run.id for run in records.controls(session, other)] == ids[:1]


def test_an_evaluation_is_not_doubled(database: Database, make_run) -> None:
    study = a_study(database)
    run = make_run(FOCAL, 42, 90, split="evaluation")
    with database.transaction() as session:
        records.add_run(session, run)
    asked = [("focal", study, None), ("trial 1", study, 1), ("focal", None, None)]
    for name, study_id, trial in asked * 2:
        with database.transaction() as session:
            records.add_evaluation(
                session, name=name, run_id=run.id, study_id=study_id, trial=trial
            )
    assert count(database, Evaluation) == 3
    with database.transaction() as session:
        names = [each.name for each in records.evaluations(session, study)]
        assert names == ["focal", "trial 1"]
        assert len(records.evaluations(session)) == 3


def test_every_opening_is_recorded(database: Database) -> None:
    study = a_study(database)
    for _ in range(2):
        an_opening(database, study)
    with database.transaction() as session:
        openings = session.scalars(select(Opening)).all()
        who = session.get(Provenance, openings[0].provenance_id)
    assert [(each.loss_id, each.seed, each.study_id) for each in openings] == [
        (FOCAL.id, 42, study)
    ] * 2
    assert who is not None
    assert (who.host, who.process) == (platform.node(), os.getpid())
    assert who.version == records.package_version()
    assert who.libraries["torch"]
    assert openings[0].opened is not None


def test_a_process_is_recorded_once(database: Database, make_run) -> None:
    an_opening(database)
    with database.transaction() as session:
        records.add_run(session, make_run(FOCAL, 1, 90))
        records.start_lease(session, a_study_in(session))
    assert count(database, Provenance) == 1


def a_study_in(session) -> int:
    study = Study(name="in", definition="", total=1)
    session.add(study)
    session.flush()
    return study.id


def interrupted(_: object) -> None:
    raise ZeroDivisionError


def test_a_process_is_recorded_again_after_a_rollback(database: Database, make_run) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        interrupted(records.add_run(session, make_run(FOCAL, 1, 90)))
    assert (count(database, Provenance), count(database, Run)) == (0, 0)
    an_opening(database)
    assert count(database, Provenance) == 1


def test_another_process_is_another_row(database: Database) -> None:
    an_opening(database)
    subprocess.run(
        [sys.executable, "-c", WRITE, database.url.render_as_string()], check=True, timeout=60
    )
    with database.transaction() as session:
        processes = session.scalars(select(Provenance.process)).all()
    assert len(set(processes)) == 2
    assert os.getpid() in processes


def test_the_last_lease_is_a_studys_own(database: Database) -> None:
    study, other = a_study(database), a_study(database, "other")
    with database.transaction() as session:
        assert records.last_lease(session, study) is None
        first = records.start_lease(session, study)
        second = records.start_lease(session, study)
        records.start_lease(session, other)
        records.end_lease(session, first.id)
        records.end_lease(session, 999)  # a study that was deleted meanwhile
    with database.transaction() as session:
        last = records.last_lease(session, study)
        assert last is not None
        assert (last.id, last.ended) == (second.id, None)
        assert last.provenance.process == os.getpid()


def test_a_study_is_found_by_its_name(database: Database) -> None:
    a_study(database, "mine")
    with database.transaction() as session:
        found = records.find_study(session, "mine")
        assert found is not None
        assert found.primary_claim is None
        assert records.find_study(session, "Mine") is None


@pytest.mark.postgres
def test_postgresql_keeps_the_same(postgres: URL, make_run) -> None:
    database = Database(postgres)
    test_a_run_comes_back_as_it_was(database, make_run)
    test_every_opening_is_recorded(database)
    assert count(database, Provenance) == 1
    database.close()
