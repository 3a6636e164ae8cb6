"""Every figure of the report and of the dashboard, one function each.

All are functions of what is stored; none trains anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle, product
from statistics import quantiles
from typing import Any

import numpy as np
import plotly.graph_objects as go
from optuna.trial import FrozenTrial
from plotly.subplots import make_subplots

from losses import LossSpec
from studies.gains import Gain
from studies.leaderboard import Row, mean_gains
from studies.standings import CROSS_ENTROPY, Ladder, Standing, spec_of
from studies.status import kind
from studies.tables import Run
from studies.view import StudyView

INK, GREY = "#1f2937", "#9ca3af"
COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2")
DASHES = ("solid", "dash", "dot")
OUTCOMES = {
    "complete": "#2563eb",
    "pruned": "#d97706",
    "rejected": "#dc2626",
    "failed": "#6b7280",
    "running": "#0891b2",
    "waiting": GREY,
}
PANELS = 4
"""Panels beside each other, so that their titles are."""

LEAST_DRAWN = 3
"""How many complete trials must have a parameter for its gains to be worth a panel."""

PROBABILITIES = np.linspace(0.01, 0.99, 99)


def study_figures(view: StudyView) -> dict[str, go.Figure]:
    """The study's figures by name, those left out that have nothing to show yet."""
    shown: dict[str, go.Figure] = {}
    if view.ladder.finished:
        best = sorted(view.ladder.finished, key=lambda each: -each.value)[:3]
        specs = {f"trial {each.number}": each.spec for each in best}
        shown["learning-curves"] = learning_curves(view.ladder)
        shown["loss-shapes"] = loss_shapes(specs, view.num_classes)
        shown["parameters"] = parameters(view.trials)
    if view.trials:
        shown["search-history"] = search_history(view.trials)
    if view.rungs:
        shown["ladder"] = ladder_gains(view.ladder, view.rungs, view.rows)
    if view.rows:
        shown["test-split"] = test_accuracy(view.rows)
    return shown


def learning_curves(ladder: Ladder) -> go.Figure:
    """Validation error by epoch: the best trials against their control, means over seeds."""
    names, epochs = ladder.definition.search.benchmarks, ladder.definition.search.epochs
    figure = make_subplots(cols=len(names), subplot_titles=names)
    for column, name in enumerate(names, start=1):
        where = {"row": 1, "col": column}
        controls = _errors(ladder.controls, name, epochs)
        _band(figure, controls, f"cross-entropy, {len(controls)} controls", where)
        for colour, each in zip(COLOURS, ladder.candidates(1), strict=False):
            runs = [run for run in ladder.runs if run.loss_id == each.spec.id]
            errors = _errors(runs, name, epochs, ladder.definition.seeds(0))
            if not errors:
                continue
            figure.add_scatter(
                x=_epochs(errors),
                y=np.mean(errors, axis=0),
                name=f"trial {each.number}, {len(errors)} seeds",
                text=[each.spec.label] * epochs,
                hovertemplate="epoch %{x}: %{y:.2f} %<br>%{text}",
                line={"color": colour},
                legendgroup=str(each.number),
                showlegend=column == 1,
                **where,
            )
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(type="log", dtick="D2")
    figure.update_yaxes(title_text="validation error, %", col=1)
    return _styled(figure, "Learning curves: the best trials and their control")


def loss_shapes(specs: Mapping[str, LossSpec], num_classes: int) -> go.Figure:
    """Loss and gradient against the label's probability, at the start and the end of training.

    The other classes share the rest of the probability equally. The gradient is that of the
    label's logit, its sign turned: how hard the loss pulls.
    """
    figure = make_subplots(cols=2, subplot_titles=("loss", "pull on the label's logit"))
    shown = {"cross-entropy": CROSS_ENTROPY, **specs}
    for colour, (name, spec) in zip((GREY, *COLOURS), shown.items(), strict=False):
        moves = any(not isinstance(value, float) for value in spec.parameters.values())
        for progress, dash in ((0.0, "dot"), (1.0, "solid")) if moves else ((1.0, "solid"),):
            when = {0.0: ", first epoch", 1.0: ", last epoch"}[progress] if moves else ""
            for column, values in enumerate(shape(spec, num_classes, progress), start=1):
                figure.add_scatter(
                    x=PROBABILITIES,
                    y=values,
                    name=name + when,
                    line={"color": colour, "dash": dash},
                    legendgroup=name + when,
                    showlegend=column == 1,
                    row=1,
                    col=column,
                )
    figure.update_xaxes(title_text="probability of the label")
    return _styled(figure, "Loss shapes: what the losses ask for")


def shape(spec: LossSpec, num_classes: int, progress: float) -> tuple[list[float], list[float]]:
    """A loss, and minus its gradient by the label's logit, at each of PROBABILITIES."""
    import torch

    p_B = torch.tensor(PROBABILITIES)
    logits_BK = torch.zeros(len(p_B), num_classes, dtype=torch.float64)
    logits_BK[:, 0] = torch.log(p_B * (num_classes - 1) / (1 - p_B))
    logits_BK.requires_grad_()
    labels_B = torch.zeros(len(p_B), dtype=torch.long)
    loss_B = spec.per_example(logits_BK, labels_B, progress=progress)
    (gradient_BK,) = torch.autograd.grad(loss_B.sum(), logits_BK)
    return loss_B.tolist(), (-gradient_BK[:, 0]).tolist()


def search_history(trials: Sequence[FrozenTrial]) -> go.Figure:
    """The gain of every trial in its turn, with its standard error where it is complete.

    A trial that ended without a gain, its loss refused above all, is a cross at the foot; a gain
    far below the others is a triangle there, so that it does not flatten them.
    """
    figure = go.Figure()
    gains = {trial.number: _last_gain(trial) for trial in trials}
    foot = _foot([gain for gain in gains.values() if gain is not None])
    for outcome, colour in OUTCOMES.items():
        shown = [
            (trial, gains[trial.number])
            for trial in trials
            if kind(trial) == outcome
            and (gains[trial.number] is not None or trial.state.is_finished())
        ]
        if not shown:
            continue
        figure.add_scatter(
            x=[trial.number for trial, _ in shown],
            y=[foot if gain is None else max(gain, foot) for _, gain in shown],
            error_y={"array": [t.user_attrs.get("standard_error") or 0 for t, _ in shown]},
            mode="markers",
            marker={
                "color": colour,
                "size": 9,
                "symbol": [_symbol(gain, foot) for _, gain in shown],
            },
            name=outcome,
            text=[_told(trial, gain) for trial, gain in shown],
            hovertemplate="trial %{x}: %{text}<extra></extra>",
        )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dash"})
    figure.update_xaxes(title_text="trial")
    figure.update_yaxes(title_text="gain over cross-entropy, points")
    return _styled(figure, "The search: each trial's gain, last seen where it was not complete")


def _foot(gains: Sequence[float]) -> float:
    """Where a figure of gains ends below: at the lowest that is no outlier (Tukey's far fence)."""
    if len(gains) < 2:
        return min(gains, default=0.0)
    low, _, high = quantiles(gains, n=4, method="inclusive")
    return min(gain for gain in gains if gain >= low - 3 * (high - low))


def _symbol(gain: float | None, foot: float) -> str:
    if gain is None:
        return "x"
    return "circle" if gain >= foot else "triangle-down"


def parameters(trials: Sequence[FrozenTrial]) -> go.Figure:
    """Gain against the value of each parameter that varies, over the complete trials."""
    complete = [trial for trial in trials if kind(trial) == "complete"]
    drawn = defaultdict(list)
    for trial in complete:
        for name, value in trial.params.items():
            if isinstance(value, float):
                drawn[name].append(value)
    names = [n for n, each in drawn.items() if len(each) >= LEAST_DRAWN and len(set(each)) > 1]
    rows = max(-(-len(names) // PANELS), 1)
    figure = make_subplots(
        rows=rows,
        cols=min(max(len(names), 1), PANELS),
        shared_yaxes=True,
        subplot_titles=names,
        vertical_spacing=0.3 / rows,
    )
    for place, name in enumerate(names):
        shown = [trial for trial in complete if name in trial.params]
        figure.add_scatter(
            x=[trial.params[name] for trial in shown],
            y=[trial.value for trial in shown],
            mode="markers",
            marker={"color": COLOURS[0], "size": 7, "opacity": 0.8},
            text=[f"trial {trial.number}: {_name(trial)}" for trial in shown],
            hovertemplate="%{text}<br>%{x:.3g}: %{y:+.2f}<extra></extra>",
            showlegend=False,
            row=place // PANELS + 1,
            col=place % PANELS + 1,
        )
    figure.update_yaxes(title_text="gain, points", col=1)
    styled = _styled(figure, "Gain against each parameter, complete trials")
    return styled.update_layout(height=120 + 280 * rows)


def ladder_gains(
    ladder: Ladder, rungs: Sequence[Sequence[Standing]], rows: Sequence[Row]
) -> go.Figure:
    """The candidates' gains up the ladder to the test split, with 95 % intervals."""
    figure = go.Figure()
    value = {each.number: each.value for each in ladder.finished}
    tested = mean_gains(rows, ladder.definition.search.benchmarks)
    for (dash, colour), each in zip(cycle(product(DASHES, COLOURS)), ladder.candidates(1)):
        steps: list[tuple[str, float, Gain | None]] = [("search", value[each.number], None)]
        for number, standings in enumerate(rungs, start=1):
            steps += [
                (f"rung {number}", s.gain.mean, s.gain)
                for s in standings
                if s.number == each.number
            ]
        if gain := tested.get(each.spec.id):
            steps.append(("test split", gain.mean, gain))
        half = [0 if g is None else g.interval()[1] - g.mean for _, _, g in steps]
        figure.add_scatter(
            x=[step for step, _, _ in steps],
            y=[mean for _, mean, _ in steps],
            error_y={"array": half},
            mode="lines+markers",
            line={"color": colour, "dash": dash},
            marker={"color": colour, "size": 9},
            name=f"trial {each.number}",
            text=[each.spec.label] * len(steps),
            hovertemplate="%{x}: %{y:+.2f}<br>%{text}",
        )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dash"})
    figure.update_yaxes(title_text="gain over cross-entropy, points")
    return _styled(figure, "The ladder: what is left of a gain on seeds not seen before")


def test_accuracy(rows: Sequence[Row]) -> go.Figure:
    """Final test accuracy of every evaluated loss, a point for each seed."""
    names = list(dict.fromkeys(row.benchmark for row in rows))
    figure = make_subplots(cols=max(len(names), 1), subplot_titles=names)
    for column, name in enumerate(names, start=1):
        for row in (row for row in rows if row.benchmark == name):
            found = row.trial is not None
            figure.add_scatter(
                x=list(row.final.values()),
                y=[row.label] * len(row.final),
                mode="markers",
                marker={"color": COLOURS[0] if found else GREY, "size": 10, "opacity": 0.7},
                text=[f"seed {seed}" for seed in row.final],
                hovertemplate="%{text}: %{x:.2f} %<extra></extra>",
                showlegend=False,
                row=1,
                col=column,
            )
    figure.update_xaxes(title_text="final test accuracy, %")
    figure.update_yaxes(autorange="reversed")
    return _styled(figure, "The test split: one point a seed")


def _band(
    figure: go.Figure, curves: Sequence[Sequence[float]], name: str, where: dict[str, Any]
) -> None:
    """Mean and standard deviation over seeds."""
    if not curves:
        return
    mean_E, deviation_E = np.mean(curves, axis=0), np.std(curves, axis=0, ddof=1)
    low_E = np.maximum(mean_E - deviation_E, mean_E / 4)  # the axis is logarithmic
    x = _epochs(curves)
    figure.add_scatter(
        x=[*x, *reversed(x)],
        y=[*(mean_E + deviation_E), *reversed(low_E)],
        fill="toself",
        fillcolor="rgba(156,163,175,0.25)",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        **where,
    )
    line = {"color": INK, "dash": "dash"}
    shown = where["col"] == 1
    figure.add_scatter(
        x=x, y=mean_E, name=name, line=line, legendgroup="control", showlegend=shown, **where
    )


def _errors(
    runs: Sequence[Run], benchmark: str, epochs: int, seeds: Sequence[int] | None = None
) -> list[list[float]]:
    """The error curves (%) of complete runs at a fidelity."""
    return [
        [max(100 - accuracy, 0.01) for accuracy in run.curves["accuracy"]]
        for run in runs
        if (run.benchmark, run.epochs, run.outcome) == (benchmark, epochs, "complete")
        and (seeds is None or run.seed in seeds)
    ]


def _epochs(curves: Sequence[Sequence[float]]) -> list[int]:
    return list(range(1, len(curves[0]) + 1))


def _last_gain(trial: FrozenTrial) -> float | None:
    if trial.value is not None:
        return trial.value
    values = trial.intermediate_values
    return values[max(values)] if values else None


def _name(trial: FrozenTrial) -> str:
    name = trial.user_attrs.get("baseline")
    return str(name or (spec_of(trial).label if "spec" in trial.user_attrs else "not sampled yet"))


def _told(trial: FrozenTrial, gain: float | None) -> str:
    reason = trial.user_attrs.get("reason", "")
    return f"{_name(trial)}<br>" + (reason if gain is None else f"{gain:+.2f}")


def _styled(figure: go.Figure, title: str) -> go.Figure:
    figure.update_layout(
        title={"text": title, "font": {"size": 16}},
        template="plotly_white",
        font={"family": "system-ui, sans-serif", "color": INK, "size": 12},
        legend={"orientation": "h", "yanchor": "top", "y": -0.18, "x": 0},
        margin={"l": 60, "r": 20, "t": 70, "b": 60},
        height=440,
    )
    return figure
