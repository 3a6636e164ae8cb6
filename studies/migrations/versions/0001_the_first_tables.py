"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table of version 0.1."""
    op.create_table(
        "losscout_provenance",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("process", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("commit", sa.String(64)),
        sa.Column("libraries", sa.JSON(), nullable=False),
        sa.Column("started", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "losscout_studies",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("primary_claim", sa.JSON()),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("amended", sa.DateTime()),
    )
    op.create_table(
        "losscout_leases",
        sa.Column("id", sa.Integer(), primary_key=True),
        _reference("study_id", "losscout_studies"),
        _reference("provenance_id", "losscout_provenance"),
        sa.Column("started", sa.DateTime(), nullable=False),
        sa.Column("ended", sa.DateTime()),
    )
    op.create_index("ix_losscout_leases_study_id", "losscout_leases", ["study_id"])
    op.create_table(
        "losscout_runs",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("benchmark", sa.String(255), nullable=False),
        sa.Column("protocol", sa.String(64), nullable=False),
        sa.Column("loss_id", sa.String(64), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("split", sa.String(16), nullable=False),
        sa.Column("device", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("curves", sa.JSON(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        _reference("study_id", "losscout_studies", nullable=True),
        sa.Column("trial", sa.Integer()),
        _reference("provenance_id", "losscout_provenance"),
        sa.Column("created", sa.DateTime(), nullable=False),
    )
    op.create_index(
        "ix_losscout_runs_key",
        "losscout_runs",
        ["protocol", "loss_id", "epochs", "seed", "split", "device"],
    )
    op.create_index("ix_losscout_runs_trial", "losscout_runs", ["study_id", "trial"])
    op.create_table(
        "losscout_controls",
        sa.Column(
            "study_id", sa.Integer(), sa.ForeignKey("losscout_studies.id"), primary_key=True
        ),
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("losscout_runs.id"), primary_key=True),
    )
    op.create_table(
        "losscout_evaluations",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        _reference("study_id", "losscout_studies", nullable=True),
        sa.Column("trial", sa.Integer()),
        _reference("run_id", "losscout_runs"),
        sa.Column("created", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_losscout_evaluations_study_id", "losscout_evaluations", ["study_id"])
    op.create_index("ix_losscout_evaluations_run_id", "losscout_evaluations", ["run_id"])
    op.create_table(
        "losscout_openings",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("benchmark", sa.String(255), nullable=False),
        sa.Column("loss_id", sa.String(64), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        _reference("study_id", "losscout_studies", nullable=True),
        _reference("provenance_id", "losscout_provenance"),
        sa.Column("opened", sa.DateTime(), nullable=False),
    )


def _reference(name: str, table: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), sa.ForeignKey(f"{table}.id"), nullable=nullable)
