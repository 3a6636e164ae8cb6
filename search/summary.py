"""What a study found, how sure that is, and what to type next: the commands' last words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from losses import LossSpec
from search.listings import render
from studies.definition import StudyDefinition
from studies.errors import StudyError
from studies.leaderboard import CAUTION, Row, mean_and_deviation, secondary_findings
from studies.published import published_results
from studies.standings import Standing
from studies.status import KINDS, kind
from studies.view import StudyView


def status_text(found: Mapping[str, Any]) -> str:
    """The same for people."""
    counts = ", ".join(f"{found['trials'][k]} {k}" for k in KINDS if found["trials"][k])
    lines = [f"study {found['study']}: {found['total']} trials in all, {counts or 'none yet'}"]
    if best := found["best"]:
        lines += [f"best: trial {best['trial']}, gain {best['gain']:+.2f} points", best["formula"]]
    for rung in found["rungs"]:
        lines.append(f"{rung['name']}: {rung['runs']} runs, {rung['seconds']:.0f} s")
    for each in found["promoted"]:
        lines.append(
            f"promoted: trial {each['trial']} on {each['benchmark']}, seed {each['seed']}: "
            f"best {each['best_accuracy']:.2f} %, final {each['final_accuracy']:.2f} %"
        )
    return "\n".join(lines)


def find_trial(view: StudyView, number: int | None) -> tuple[int, LossSpec]:
    """The trial of that number, or the best by the highest rung that was climbed.

    Raises:
        StudyError: it does not exist, or has no result yet.
    """
    finished = {each.number: each for each in view.ladder.finished}
    if number is None:
        if view.rungs:
            return view.rungs[-1][0].number, view.rungs[-1][0].spec
        best = view.ladder.candidates(1)[:1]
        if not best:
            raise StudyError(f"study {view.definition.name!r} has no complete trial yet")
        return best[0].number, best[0].spec
    if number >= len(view.trials):
        raise StudyError(
            f"--trial must be one of the study's (0 to {len(view.trials) - 1}) but got {number}"
        )
    if number not in finished:
        raise StudyError(
            f"--trial must have a result but trial {number} is {kind(view.trials[number])}"
        )
    return number, finished[number].spec


def summarise(view: StudyView, study: str) -> str:
    """What was found and how sure it is; ``study`` is what the user types for it."""
    lines = ["", status_text({**view.status, "promoted": [], "best": None, "rungs": []})]
    lines += _search_lines(view)
    lines += [
        f"reference outside the space: {name}, gain {gain.mean:+.2f} points (standard error "
        f"{gain.standard_error:.2f})"
        for name, gain in view.ladder.reference_gains().items()
    ]
    for number, standings in enumerate(view.rungs, start=1):
        line = _rung_line(number, standings, view.definition)
        lines.append("; ".join(filter(None, (line, view.costs[number].chance))))
    if view.rows:
        lines += ["", leaderboard_table(view.rows), CAUTION, ""]
    if view.conclusion:
        lines.append(f"on the test split, {view.conclusion}")
    if view.scale:
        lines.append(f"beside cross-entropy of the same gradient scale: {view.scale.words}")
    if view.claim and view.claim.promise:
        lines.append(f"planned beforehand: {view.claim.promise}")
    lines += secondary_findings(view.rows)
    return "\n".join(lines + _next_lines(view, study))


def _search_lines(view: StudyView) -> list[str]:
    best = view.status["best"]
    if best is None:
        return ["no trial but cross-entropy's is complete yet"]
    return [
        f"search: the best trial is {best['trial']}, gain {best['gain']:+.2f} points (standard "
        f"error {best['standard_error']:.2f}) over {view.definition.search.seeds} seeds; "
        f"{view.costs[0].chance or 'being the best of many, it looks better than it is'}"
    ]


def _rung_line(number: int, standings: Sequence[Standing], definition: StudyDefinition) -> str:
    best = standings[0]
    low, high = best.gain.interval()
    return (
        f"rung {number}: on {definition.rungs[number].seeds} fresh seeds, of {len(standings)} "
        f"losses the best is trial {best.number}, gain {best.gain.mean:+.2f} points "
        f"(95 % interval {low:+.2f} to {high:+.2f}): {best.spec.label}"
    )


def leaderboard_table(rows: Sequence[Row]) -> str:
    """Evaluations as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("loss", "benchmark", "epochs"):
        table.add_column(column, overflow="fold")
    for column in ("seeds", "final % (sd)", "best % (sd)", "gain", "95 % interval", "p"):
        table.add_column(column, justify="right")
    for row in rows:
        gain, interval = "", ""
        if row.gain is not None:
            gain = f"{row.gain.mean:+.2f}"
            interval = "{:+.2f} to {:+.2f}".format(*row.gain.interval())
        table.add_row(
            row.label,
            row.benchmark,
            str(row.epochs),
            str(len(row.final)),
            mean_and_deviation(row.final),
            mean_and_deviation(row.best),
            gain,
            interval,
            row.p_words,
        )
    return render(table)


def leaderboard_json(view: StudyView) -> dict[str, Any]:
    """The leaderboard with every number, and the published results beside it."""
    evaluated = {row.benchmark for row in view.rows}
    return {
        "study": view.definition.name,
        "claim": view.claim and view.claim.to_dict(),
        "verdict": view.verdict and view.verdict.to_dict(),
        "conclusion": view.conclusion,
        "scale_matched": view.scale and view.scale.to_dict(),
        "rungs": [each.to_dict() for each in view.costs],
        "fidelity": [each.to_dict() for each in view.agreements()],
        "rows": [row.to_dict() for row in view.rows],
        "published": [
            {
                "result": each.name,
                "kind": each.kind,
                "benchmark": each.benchmark,
                "best_accuracy": each.best,
                "sources": each.sources,
            }
            for each in published_results()
            if each.benchmark in evaluated
        ],
    }


def evaluation_table(results: Sequence[Mapping[str, Any]]) -> str:
    """The runs of ``losscout evaluate`` as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("loss", "benchmark"):
        table.add_column(column, overflow="fold")
    for column in ("seed", "epochs", "best %", "final %", "test loss", "ECE", "gain", "seconds"):
        table.add_column(column, justify="right")
    for each in results:
        dry = "" if each["subset"] is None else f" (dry run: {each['subset']} images)"
        table.add_row(
            each["loss"],
            each["benchmark"] + dry,
            str(each["seed"]),
            str(each["epochs"]),
            f"{each['best_accuracy']:.2f}",
            f"{each['final_accuracy']:.2f}",
            f"{each['cross_entropy']:.4f}",
            f"{each['calibration_error']:.2f}",
            "" if each["gain"] is None else f"{each['gain']:+.2f}",
            f"{each['seconds']:.1f}",
        )
    return render(table)


def _next_lines(view: StudyView, study: str) -> list[str]:
    if view.status["best"] is None:
        return ["", "next:", f"  losscout search {study}"]
    commands = {
        f"losscout export {study} -o loss.py": "the loss as one Python file",
        f"losscout dashboard {study}": "every trial, in the browser",
    }
    if view.rows:
        commands[f"losscout report {study}"] = "one page to send on"
    else:
        commands[f"losscout promote {study}"] = "the best on the test split"
    width = max(map(len, commands))
    return ["", "next:", *(f"  {command:{width}}  {why}" for command, why in commands.items())]
