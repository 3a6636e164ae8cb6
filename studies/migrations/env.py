"""Runs our migrations on the connection that studies.database hands over."""

from alembic import context

from studies.tables import PREFIX, Base


def ours(name: str | None, kind: str, parents: object) -> bool:
    """Whether a table is ours to migrate: Optuna's stand in the same database."""
    return kind != "table" or (name is not None and name.startswith(PREFIX))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=f"{PREFIX}schema",
    include_name=ours,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
