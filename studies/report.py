"""One self-contained HTML page about a study."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from optuna.trial import FrozenTrial
from plotly.offline import get_plotlyjs

from studies import records
from studies.figures import study_figures
from studies.leaderboard import CAUTION, mean_and_deviation, secondary_findings
from studies.published import published_results
from studies.standings import spec_of
from studies.status import KINDS, kind
from studies.tables import now
from studies.view import StudyView

CONFIG = {"responsive": True, "displayModeBar": False}
ORDER = ("learning-curves", "loss-shapes", "ladder", "test-split", "search-history", "parameters")


def report(view: StudyView) -> str:
    """The page as text; it works offline."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
    )
    shown = study_figures(view)
    figures = [
        shown[name].to_html(full_html=False, include_plotlyjs=False, config=CONFIG)
        for name in ORDER
        if name in shown
    ]
    counted = view.status["trials"]
    epochs = view.definition.search.epochs
    return environment.get_template("report.html").render(
        view=view,
        figures=figures,
        counts=", ".join(f"{counted[each]} {each}" for each in KINDS if counted[each]) or "none",
        expectations=view.ladder.expectations(epochs) if view.ladder.controls else {},
        references=view.ladder.reference_gains(),
        trials=[_row(trial) for trial in view.trials],
        spread=mean_and_deviation,
        points=lambda value: "" if value is None else f"{value:+.2f}",
        costs=view.costs,
        agreements=view.agreements(),
        caution=CAUTION,
        secondary=secondary_findings(view.rows),
        published=[
            each
            for each in published_results()
            if each.benchmark in {row.benchmark for row in view.rows}
        ],
        plotly_js=get_plotlyjs(),
        version=records.package_version(),
        commit=records.commit(),
        libraries=records.libraries(),
        written=f"{now():%Y-%m-%d %H:%M}",
    )


def _row(trial: FrozenTrial) -> dict[str, str | int]:
    attributes = trial.user_attrs
    error = attributes.get("standard_error")
    return {
        "number": trial.number,
        "label": spec_of(trial).label if "spec" in attributes else "not sampled yet",
        "baseline": attributes.get("baseline", ""),
        "gain": "" if trial.value is None else f"{trial.value:+.2f}",
        "error": "" if error is None else f"{error:.2f}",
        "outcome": attributes.get("outcome", kind(trial)),
        "reason": attributes.get("reason", ""),
    }
