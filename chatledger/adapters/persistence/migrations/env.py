"""What Alembic runs: all revisions that are due, in the transaction that ``migrate.upgrade`` has opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
