"""The schema of the store, brought to this release's revision by Alembic."""

import threading
from pathlib import Path

import sqlalchemy as sa

from chatledger.adapters.persistence.errors import storage_errors
from chatledger.adapters.persistence.statements import statements_of
from chatledger.adapters.persistence.versions import has_read_models, make_read_models
from chatledger.application.ledger.projections import READ_MODELS_VERSION
from chatledger.application.ports.storage import SchemaError

HEAD_REVISION = "0001"
"""The newest revision in ``migrations/versions``."""

VERSION_TABLE = "chatledger_version"
"""Not Alembic's default: a host may have its own revisions in the same schema."""

_one_at_a_time = threading.Lock()
"""What Alembic's revisions speak to is one for the whole process."""

MIGRATIONS = Path(__file__).with_name("migrations")


def schema_revision(engine: sa.Engine) -> str | None:
    """The revision that the store has; None where it is empty.

    Raises:
        StorageUnavailableError: the store is in trouble.
    """
    with storage_errors(), engine.connect() as connection:
        return _revision(connection)


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))).scalar()


def require_current(engine: sa.Engine) -> None:
    """Let a store of this release's revision pass.

    Raises:
        SchemaError: it has another one, or no read models of this release's version; the text says what to do.
    """
    found = schema_revision(engine)
    if found != HEAD_REVISION:
        has = "is empty" if found is None else f"has revision {found}"
        raise SchemaError(
            f"the store {has}, this release works with revision {HEAD_REVISION}: run `chatledger migrate`"
        )
    with storage_errors(), engine.connect() as connection:
        if statements_of(connection).read_schema() is not None and not has_read_models(connection):
            raise SchemaError(
                f"the store has no read models of version {READ_MODELS_VERSION}, with which this release works: "
                "start a server of it, or run `chatledger migrate`"
            )


def upgrade(engine: sa.Engine) -> bool:
    """Bring the store to this release's revision, whole or not at all; False if it was there already.

    Raises:
        SchemaError: the store is of a newer release.
        StorageUnavailableError: the store is in trouble; nothing was changed.
    """
    with storage_errors(), engine.begin() as connection:
        statements_of(connection).lock_schema()
        is_current = _revision(connection) == HEAD_REVISION
        if not is_current:
            _run_alembic(connection)
        return make_read_models(connection) or not is_current


def _run_alembic(connection: sa.Connection) -> None:
    # Alembic takes long to import, and nearly every start finds nothing to do.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    try:
        with _one_at_a_time:
            command.upgrade(config, "head")
    except CommandError as error:
        raise SchemaError(f"the store is of a newer release of chatledger: {error}") from error
