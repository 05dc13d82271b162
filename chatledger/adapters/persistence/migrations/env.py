"""What Alembic runs: all revisions that are due, in the transaction that ``migrate.upgrade`` has opened."""

from alembic import context

attributes = context.config.attributes
context.configure(connection=attributes["connection"], version_table=attributes["version_table"])
with context.begin_transaction():
    context.run_migrations()
