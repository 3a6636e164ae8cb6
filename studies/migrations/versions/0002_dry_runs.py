"""Dry runs on a subset of the training images."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let a run say on how many training images it was trained; empty for all."""
    op.add_column("losscout_runs", sa.Column("subset", sa.Integer()))
