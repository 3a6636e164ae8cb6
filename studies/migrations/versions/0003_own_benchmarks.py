"""Studies know the protocols of the user's own benchmarks."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; studies made before have no such benchmarks."""
    op.add_column("losscout_studies", sa.Column("benchmarks", sa.JSON()))
