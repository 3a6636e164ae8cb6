"""The tables that stand beside Optuna's in the same database.

None has a foreign key into Optuna's tables: those are Optuna's alone to write and to migrate.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Double, ForeignKey, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

PREFIX = "losscout_"


def now() -> datetime:
    """The time in UTC, without a zone: SQLite would drop it, and every row means the same."""
    return datetime.now(UTC).replace(tzinfo=None)


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, datetime: DateTime}  # noqa: RUF012


class Provenance(Base):
    """Who computed something: one row for each process that wrote."""

    __tablename__ = f"{PREFIX}provenance"

    id: Mapped[int] = mapped_column(primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    process: Mapped[int]
    version: Mapped[str] = mapped_column(String(64))
    commit: Mapped[str | None] = mapped_column(String(64))
    libraries: Mapped[dict[str, Any]]
    started: Mapped[datetime] = mapped_column(default=now)


class Study(Base):
    """A study's definition as its author wrote it, and what was decided when it was started.

    ``benchmarks`` holds the protocols of the user's own benchmarks by name.
    """

    __tablename__ = f"{PREFIX}studies"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    definition: Mapped[str] = mapped_column(Text)
    total: Mapped[int]
    benchmarks: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    primary_claim: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(default=now)
    amended: Mapped[datetime | None]


class Lease(Base):
    """A coordinator at work on a study; ``ended`` stays empty when it was killed."""

    __tablename__ = f"{PREFIX}leases"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey(Study.id), index=True)
    provenance_id: Mapped[int] = mapped_column(ForeignKey(Provenance.id))
    started: Mapped[datetime] = mapped_column(default=now)
    ended: Mapped[datetime | None]

    provenance: Mapped[Provenance] = relationship()


class Run(Base):
    """One training of one benchmark with one loss and one seed, with its curves.

    ``curves`` maps "train_loss", "accuracy" (%), "cross_entropy" (nats), "calibration_error"
    (points) and "gradient_ratio", which older runs lack, to one number an epoch. A dry run was
    trained on ``subset`` images.
    """

    __tablename__ = f"{PREFIX}runs"
    __table_args__ = (
        Index("ix_losscout_runs_key", "protocol", "loss_id", "epochs", "seed", "split", "device"),
        Index("ix_losscout_runs_trial", "study_id", "trial"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    benchmark: Mapped[str] = mapped_column(String(255))
    protocol: Mapped[str] = mapped_column(String(64))
    loss_id: Mapped[str] = mapped_column(String(64))
    spec: Mapped[str] = mapped_column(Text)
    seed: Mapped[int]
    epochs: Mapped[int]
    split: Mapped[str] = mapped_column(String(16))
    subset: Mapped[int | None]
    device: Mapped[str] = mapped_column(String(16))
    outcome: Mapped[str] = mapped_column(String(16))
    curves: Mapped[dict[str, Any]]
    seconds: Mapped[float] = mapped_column(Double)
    study_id: Mapped[int | None] = mapped_column(ForeignKey(Study.id))
    trial: Mapped[int | None]
    provenance_id: Mapped[int] = mapped_column(ForeignKey(Provenance.id))
    created: Mapped[datetime] = mapped_column(default=now)

    @property
    def final_accuracy(self) -> float:
        """Accuracy after the last epoch, in percent."""
        return float(self.curves["accuracy"][-1])

    @property
    def best_accuracy(self) -> float:
        """The highest accuracy over the epochs, in percent."""
        return float(max(self.curves["accuracy"]))


class Control(Base):
    """A cross-entropy run that a study measures its gains against."""

    __tablename__ = f"{PREFIX}controls"

    study_id: Mapped[int] = mapped_column(ForeignKey(Study.id), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey(Run.id), primary_key=True)

    run: Mapped[Run] = relationship()


class Evaluation(Base):
    """A loss on the test split; ``name`` is how it was asked for."""

    __tablename__ = f"{PREFIX}evaluations"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    study_id: Mapped[int | None] = mapped_column(ForeignKey(Study.id), index=True)
    trial: Mapped[int | None]
    run_id: Mapped[int] = mapped_column(ForeignKey(Run.id), index=True)
    created: Mapped[datetime] = mapped_column(default=now)

    run: Mapped[Run] = relationship()


class Opening(Base):
    """One opening of a sealed test split: who, when, and for which loss."""

    __tablename__ = f"{PREFIX}openings"

    id: Mapped[int] = mapped_column(primary_key=True)
    benchmark: Mapped[str] = mapped_column(String(255))
    loss_id: Mapped[str] = mapped_column(String(64))
    seed: Mapped[int]
    epochs: Mapped[int]
    study_id: Mapped[int | None] = mapped_column(ForeignKey(Study.id))
    provenance_id: Mapped[int] = mapped_column(ForeignKey(Provenance.id))
    opened: Mapped[datetime] = mapped_column(default=now)
