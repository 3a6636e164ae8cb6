"""The Optuna dashboard on a study, with our figures and notes in it.

They are computed when the dashboard reads and never written: in the database they would cost time
at every trial, and freeze with it. A note that a user writes in the dashboard is stored by it, and
from then on is what is shown.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna_dashboard
from optuna.storages import RDBStorage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial

from studies import figures
from studies.database import Database
from studies.definition import StudyDefinition
from studies.errors import StudyError
from studies.standings import spec_of
from studies.view import StudyView

HOST = "127.0.0.1"
"""Loopback only: the dashboard lets whoever reaches it delete studies."""


class AnnotatedStorage(RDBStorage):
    """Optuna's storage, which adds our figures and notes to what it reads of one study."""

    def __init__(self, database: Database, definition: StudyDefinition) -> None:
        super().__init__(
            database.url.render_as_string(hide_password=False),
            engine_kwargs=database.engine_options,
            skip_table_creation=True,
        )
        self._database = database
        self._definition = definition
        self._study_id = database.storage.get_study_id_from_name(definition.name)
        self._lock = threading.Lock()
        self._key: object = None
        self._cached: dict[str, Any] = {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the stored attributes, and ours."""
        stored = super().get_study_system_attrs(study_id)
        return self._annotated(stored) if study_id == self._study_id else stored

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return every study, ours annotated."""
        studies = super().get_all_studies()
        for study in studies:
            if study._study_id == self._study_id:
                study.system_attrs = self._annotated(study.system_attrs)
        return studies

    def _annotated(self, stored: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            view = StudyView.load(self._database, self._definition)
            key = (
                view.total,
                [len(row.final) for row in view.rows],
                [len(standings) for standings in view.rungs],
                [(t.number, t.state, t.last_step) for t in view.trials],
            )
            if key != self._key:
                self._key, self._cached = key, annotated(view)
        written = {key for key in stored if key.endswith(":note_ver") and _body(stored, key)}
        ours = {
            key: value
            for key, value in self._cached.items()
            if not any(key.startswith(each.removesuffix("note_ver") + "note_") for each in written)
        }
        return {**stored, **ours}


def annotated(view: StudyView) -> dict[str, Any]:
    """Our notes and figures, in the form in which the dashboard keeps its own."""
    attributes = _note("dashboard", study_note(view))
    for trial in view.trials:
        if "spec" in trial.user_attrs:
            attributes |= _note(f"dashboard:{trial._trial_id}", trial_note(trial))
    for name, figure in figures.study_figures(view).items():
        attributes[f"dashboard:plot_data:{name}:0"] = figure.to_json()
    return attributes


def study_note(view: StudyView) -> str:
    """What the study is and what it has found, in Markdown."""
    search = view.definition.search
    lines = [
        f"## {view.definition.name}",
        view.definition.description,
        "",
        f"Losses of the family **{'**, **'.join(view.definition.space.family)}** on "
        f"{', '.join(search.benchmarks)}: {view.total} trials of {search.epochs} epochs and "
        f"{search.seeds} seeds.",
        "",
        "The value is the **gain** over plain cross-entropy in percentage points of validation "
        "accuracy, paired by seed.",
    ]
    if best := view.status["best"]:
        lines += ["", f"Best so far: trial {best['trial']}, {best['gain']:+.2f} points."]
    if view.conclusion:
        lines += ["", f"On the test split, {view.conclusion}."]
    return "\n".join(lines)


def trial_note(trial: FrozenTrial) -> str:
    """The trial's formula and what came of it, in Markdown."""
    spec = spec_of(trial)
    attributes = trial.user_attrs
    title = attributes.get("baseline") or spec.label
    # One line for the loss and one for each thing that it is made of: the note does not wrap.
    formula = re.sub(r", (?=\w+ = )", "\n", f"loss = {spec.formula}")
    lines = [f"### {title}", "", "```", formula, "```", ""]
    if outcome := attributes.get("outcome"):
        lines += [f"{outcome}: {attributes.get('reason', '')}", ""]
    if trial.value is not None and "standard_error" in attributes:
        lines.append(
            f"gain {trial.value:+.2f} (standard error {attributes['standard_error']:.2f})"
        )
    return "\n".join(lines)


def serve(
    database: Database,
    definition: StudyDefinition,
    *,
    port: int,
    artifacts: Path,
    announce: Callable[[str], None],
) -> None:
    """Serve the dashboard on this machine alone until interrupted.

    Args:
        database: where the study is kept.
        definition: the study's.
        port: 0 takes any that is free.
        artifacts: folder of the files that users attach in the dashboard.
        announce: is told the address of the study's page.

    Raises:
        StudyError: the port cannot be had.
    """
    with listening(database, definition, port=port, artifacts=artifacts) as (server, url):
        announce(url)
        server.serve_forever()


@contextmanager
def listening(
    database: Database, definition: StudyDefinition, *, port: int, artifacts: Path
) -> Iterator[tuple[WSGIServer, str]]:
    """A server that is bound to its port, and the address of the study's page."""
    from optuna.artifacts import FileSystemArtifactStore

    storage = AnnotatedStorage(database, definition)
    artifacts.mkdir(parents=True, exist_ok=True)
    app = optuna_dashboard.wsgi(storage, artifact_store=FileSystemArtifactStore(artifacts))
    try:
        server = make_server(HOST, port, app, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        raise StudyError(f"--port {port} cannot be listened on: {error.strerror}") from None
    with server:
        study_id = storage.get_study_id_from_name(definition.name)
        yield server, f"http://{HOST}:{server.server_port}/dashboard/studies/{study_id}"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Requests are of no interest on the terminal."""


def _note(prefix: str, body: str) -> dict[str, Any]:
    return {f"{prefix}:note_ver": 0, f"{prefix}:note_str:0": body}


def _body(stored: dict[str, Any], version_key: str) -> str:
    prefix = version_key.removesuffix("note_ver") + "note_str:"
    return "".join(str(value) for key, value in stored.items() if key.startswith(prefix))
