"""Alembic's entry: it runs on the connection, and in the transaction, that `upgrade` opened."""

from alembic import context

from orchestrator.store import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    transactional_ddl=True,
)
context.run_migrations()
