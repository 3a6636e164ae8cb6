"""The dashboard, asked as a browser would ask it but without one."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import urlopen
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from sqlalchemy import inspect, text

from losses import published
from studies.dashboard import AnnotatedStorage, listening, trial_note
from studies.database import Database
from studies.errors import StudyError

LOSSES = published()


class Browser:
    """Asks the application of one server, in this process."""

    def __init__(self, kept, folder: Path) -> None:
        with listening(kept.database, kept.definition, port=0, artifacts=folder) as (server, url):
            self.app = server.get_app()
        self.study = f"/api/studies/{url.rsplit('/', 1)[1]}"

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        sent = b"" if body is None else json.dumps(body).encode()
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        environ |= {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(sent)),
            "wsgi.input": io.BytesIO(sent),
        }
        status: list[str] = []

        def start(line: str, headers: object, failure: object = None) -> Any:
            status.append(line)
            return lambda data: None

        answer = validator(self.app)(environ, start)
        given = b"".join(answer)
        answer.close()
        return int(status[0].split()[0]), json.loads(given or b"null")

    def get(self) -> Any:
        status, study = self.ask("GET", self.study)
        assert status == 200
        return study


@pytest.fixture(scope="module")
def reader(done, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """On a study that stays as it is: what is drawn of it is drawn once."""
    return Browser(done, tmp_path_factory.mktemp("artifacts"))


@pytest.fixture
def browser(promoted, tmp_path: Path) -> Browser:
    return Browser(promoted, tmp_path / "artifacts")


def rows(database: Database) -> dict[str, int]:
    """How many rows every table has."""
    with database.engine.connect() as connection:
        return {
            table: connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0
            for table in inspect(database.engine).get_table_names()
        }


def figures(study: Any) -> set[str]:
    return {each["id"] for each in study["plotly_graph_objects"]}


def test_the_study_has_our_figures_and_notes(reader: Browser) -> None:
    study = reader.get()
    assert figures(study) == {
        "learning-curves",
        "loss-shapes",
        "parameters",
        "search-history",
        "ladder",
        "test-split",
    }
    for each in study["plotly_graph_objects"]:
        assert json.loads(each["graph_object"])["layout"]
    note = study["note"]["body"]
    assert note.startswith("## kept")
    assert "Best so far: trial 3, +3.00 points." in note
    assert "better than cross-entropy: +3.00 points" in note


def test_every_trial_has_a_note_with_its_formula(reader: Browser) -> None:
    notes = [trial["note"]["body"] for trial in reader.get()["trials"]]
    assert len(notes) == 5
    assert "gain +2.00 (standard error 0.25)" in notes[1]
    assert notes[1].startswith("### focal\n")
    assert "loss = " in notes[1]
    assert "pruned: fell behind" in notes[4]


def test_the_note_has_the_formula_line_by_line(make_trial) -> None:
    spec = LOSSES["focal"]
    note = trial_note(make_trial(spec, 1.0))
    shown = note.split("```")[1].strip()
    assert shown.replace("\n", ", ") == f"loss = {spec.formula}"


def test_the_list_of_studies_is_served(reader: Browser) -> None:
    status, answer = reader.ask("GET", "/api/studies")
    assert status == 200
    assert [each["study_name"] for each in answer["study_summaries"]] == ["kept"]


def test_reading_writes_nothing(reader: Browser, done) -> None:
    before = rows(done.database)
    for path in ("/api/meta", "/api/studies", reader.study, f"{reader.study}/param_importances"):
        reader.ask("GET", path)
    reader.get()
    assert rows(done.database) == before


@pytest.mark.parametrize("trial", [None, 1])
def test_a_users_note_wins_and_is_stored(browser: Browser, promoted, trial: int | None) -> None:
    def note() -> dict[str, Any]:
        study = browser.get()
        return study["note"] if trial is None else study["trials"][trial]["note"]

    path = browser.study
    if trial is not None:
        path += f"/{browser.get()['trials'][trial]['trial_id']}"
    ours = note()
    written = {"body": "mine " * 1000, "version": ours["version"] + 1}  # longer than an attribute
    status, _ = browser.ask("PUT", f"{path}/note", written)
    assert status == 204
    assert note() == written
    stored = promoted.database.storage.get_study_system_attrs(int(browser.study.split("/")[-1]))
    assert any(str(value).startswith("mine ") for value in stored.values())
    # The others are still ours, and nothing of ours was stored.
    assert browser.get()["trials"][3]["note"]["body"].startswith("### ")
    assert not any(
        "###" in str(v) or key.startswith("dashboard:plot") for key, v in stored.items()
    )


def test_an_emptied_note_is_ours_again(browser: Browser) -> None:
    ours = browser.get()["note"]
    for version, body in ((1, "mine"), (2, "")):
        status, _ = browser.ask("PUT", f"{browser.study}/note", {"body": body, "version": version})
        assert status == 204
    assert browser.get()["note"]["body"] == ours["body"]
    status, _ = browser.ask(
        "PUT",
        f"{browser.study}/note",
        {"body": "again", "version": browser.get()["note"]["version"] + 1},
    )
    assert status == 204
    assert browser.get()["note"]["body"] == "again"


def test_an_outdated_note_is_a_conflict(reader: Browser) -> None:
    status, _ = reader.ask("PUT", f"{reader.study}/note", {"body": "mine", "version": 9})
    assert status == 409


def test_what_a_running_study_adds_is_shown(climbed, tmp_path: Path) -> None:
    storage = AnnotatedStorage(climbed.database, climbed.definition)
    study_id = climbed.database.storage.get_study_id_from_name("kept")

    def shown() -> str:
        attributes = storage.get_study_system_attrs(study_id)
        return "".join(str(attributes[key]) for key in sorted(attributes))

    assert "test-split" not in str(storage.get_study_system_attrs(study_id).keys())
    before = shown()
    assert shown() == before
    climbed.add_trial(LOSSES["temperature"], 9.0)
    assert "Best so far: trial 5, +9.00 points." in shown()
    climbed.evaluate(LOSSES["focal"], [84], trial=1)
    one_seed = shown()
    climbed.evaluate(LOSSES["focal"], [84, 82], trial=1)
    assert shown() != one_seed


def test_a_rung_that_is_complete_is_shown(kept) -> None:
    kept.add_controls()
    kept.add_trial(LOSSES["focal"], 1.0)
    storage = AnnotatedStorage(kept.database, kept.definition)
    study_id = kept.database.storage.get_study_id_from_name("kept")
    assert "dashboard:plot_data:ladder:0" not in storage.get_study_system_attrs(study_id)
    kept.add_controls(rung=1)
    kept.climb(1, LOSSES["focal"], 1.0)
    assert "dashboard:plot_data:ladder:0" in storage.get_study_system_attrs(study_id)


def test_another_study_of_the_database_is_left_as_it_is(promoted, definition) -> None:
    other = type(promoted)(promoted.database, definition.model_copy(update={"name": "other"}))
    storage = AnnotatedStorage(promoted.database, promoted.definition)
    study_id = storage.get_study_id_from_name(other.definition.name)
    attributes = storage.get_study_system_attrs(study_id)
    assert not any(key.startswith("dashboard:") for key in attributes)
    by_name = {study.study_name: study for study in storage.get_all_studies()}
    assert "dashboard:note_str:0" in by_name["kept"].system_attrs
    assert "dashboard:note_str:0" not in by_name["other"].system_attrs


def test_only_this_machine_is_served(kept, tmp_path: Path) -> None:
    with listening(kept.database, kept.definition, port=0, artifacts=tmp_path) as (server, url):
        assert server.server_address[0] == "127.0.0.1"
        assert url.startswith(f"http://127.0.0.1:{server.server_port}/dashboard/studies/")
        assert server.server_port != 0


def test_the_address_that_is_announced_answers(kept, tmp_path: Path) -> None:
    with listening(kept.database, kept.definition, port=0, artifacts=tmp_path) as (server, url):
        server.timeout = 10
        thread = Thread(target=server.handle_request)
        thread.start()
        with urlopen(url, timeout=10) as answer:
            assert answer.status == 200
            assert b"Optuna" in answer.read()
        thread.join()


def test_a_port_in_use_is_said(kept, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(
                StudyError, match=f"--port {port} cannot be listened on: Address already in use"
            ),
            listening(kept.database, kept.definition, port=port, artifacts=tmp_path),
        ):
            pass
