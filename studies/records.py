"""What is written to and read from our own tables, as plain functions of a session."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from studies.tables import Control, Evaluation, Lease, Opening, Provenance, Run, Study, now

STARTED = now()
"""With host and process id, it tells this process from every other."""

LIBRARIES = ("torch", "torchvision", "numpy", "optuna", "sqlalchemy")


@dataclass(frozen=True, kw_only=True)
class RunKey:
    """What makes two runs the same run.

    Attributes:
        protocol: digest of the benchmark's protocol.
        split: "search" (validation images) or "evaluation" (test images).
        device: "cpu" or "cuda": they round differently.
        subset: how many training images a dry run sees; None for all.
    """

    benchmark: str
    protocol: str
    loss_id: str
    seed: int
    epochs: int
    split: str
    device: str
    subset: int | None = None


def find_study(session: Session, name: str) -> Study | None:
    """The study of that name, if it was ever started."""
    return session.scalars(select(Study).where(Study.name == name)).one_or_none()


def find_run(session: Session, key: RunKey) -> Run | None:
    """The complete run with this key, whichever study it was made for; the last of several."""
    query = select(Run).filter_by(**asdict(key), outcome="complete").order_by(Run.id.desc())
    return session.scalars(query).first()


def add_run(session: Session, run: Run) -> Run:
    """Keep a run; its curves may end early where its outcome is not "complete"."""
    run.curves = {  # JSON knows no infinity
        name: [value if value is not None and math.isfinite(value) else None for value in curve]
        for name, curve in run.curves.items()
    }
    run.provenance_id = _provenance(session)
    session.add(run)
    session.flush()
    return run


def seconds_per_epoch(session: Session, *, protocol: str, split: str, device: str) -> float | None:
    """How long an epoch of a benchmark took so far on a kind of device; None before the first."""
    query = select(func.sum(Run.seconds), func.sum(Run.epochs)).filter_by(
        protocol=protocol, split=split, device=device, subset=None, outcome="complete"
    )
    seconds, epochs = session.execute(query).one()
    return seconds / epochs if epochs else None


def use_controls(session: Session, study_id: int, run_ids: Iterable[int]) -> None:
    """Note that a study measures against these runs."""
    known = set(session.scalars(select(Control.run_id).where(Control.study_id == study_id)))
    session.add_all(
        Control(study_id=study_id, run_id=run_id) for run_id in run_ids if run_id not in known
    )


def controls(session: Session, study_id: int) -> Sequence[Run]:
    """The cross-entropy runs that a study measures against."""
    query = select(Run).join(Control, Control.run_id == Run.id).where(Control.study_id == study_id)
    return session.scalars(query.order_by(Run.id)).all()


def search_runs(
    session: Session, *, loss_ids: set[str], protocols: Iterable[str], device: str
) -> list[Run]:
    """The runs of some losses on validation images, in the order in which they ended.

    They count for a study whichever study they were made for: the same loss, seed and protocol
    give the same run.
    """
    query = select(Run).where(
        Run.protocol.in_(list(protocols)), Run.split == "search", Run.device == device
    )
    return [run for run in session.scalars(query.order_by(Run.id)) if run.loss_id in loss_ids]


def study_runs(session: Session, study_id: int) -> Sequence[Run]:
    """Every run that was trained for a study, however it ended."""
    query = select(Run).where(Run.study_id == study_id, Run.subset.is_(None))
    return session.scalars(query.order_by(Run.id)).all()


def open_test_split(
    session: Session, *, benchmark: str, loss_id: str, seed: int, epochs: int, study_id: int | None
) -> None:
    """Record, before it happens, that a sealed test split is opened."""
    session.add(
        Opening(
            benchmark=benchmark,
            loss_id=loss_id,
            seed=seed,
            epochs=epochs,
            study_id=study_id,
            provenance_id=_provenance(session),
        )
    )


def add_evaluation(
    session: Session, *, name: str, run_id: int, study_id: int | None, trial: int | None
) -> None:
    """Keep a run on the test split as an evaluation, once for each study and trial."""
    same = select(Evaluation).filter_by(name=name, run_id=run_id, study_id=study_id, trial=trial)
    if session.scalars(same).first() is None:
        session.add(Evaluation(name=name, run_id=run_id, study_id=study_id, trial=trial))


def evaluations(session: Session, study_id: int | None = None) -> Sequence[Evaluation]:
    """The evaluations of one study, or all of them."""
    query = select(Evaluation).order_by(Evaluation.id)
    if study_id is not None:
        query = query.where(Evaluation.study_id == study_id)
    return session.scalars(query).all()


def start_lease(session: Session, study_id: int) -> Lease:
    """Note that this process now works on a study."""
    lease = Lease(study_id=study_id, provenance_id=_provenance(session))
    session.add(lease)
    session.flush()
    return lease


def end_lease(session: Session, lease_id: int) -> None:
    """Note that it no longer does."""
    lease = session.get(Lease, lease_id)
    if lease is not None:
        lease.ended = now()


def last_lease(session: Session, study_id: int) -> Lease | None:
    """Who worked on a study last, or still does."""
    query = select(Lease).where(Lease.study_id == study_id).order_by(Lease.id.desc())
    return session.scalars(query).first()


def _provenance(session: Session) -> int:
    """The row that says who this process is, written with the first thing that it writes."""
    me = {"host": platform.node(), "process": os.getpid(), "started": STARTED}
    known = session.scalars(select(Provenance.id).filter_by(**me)).first()
    if known is not None:
        return known
    row = Provenance(**me, version=package_version(), commit=commit(), libraries=libraries())
    session.add(row)
    session.flush()
    return row.id


@cache
def libraries() -> dict[str, str]:
    """The versions of Python and of the libraries that a result depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


@cache
def package_version() -> str:
    """LosScout's own version."""
    try:
        return version("losscout")
    except PackageNotFoundError:
        return "unknown"


@cache
def commit() -> str | None:
    """The commit of the checkout that this code runs from, marked "+" where files differ."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():  # installed: a repository further up is somebody else's
        return None
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
