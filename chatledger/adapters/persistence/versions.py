"""The read models' tables, made for the version that this release writes.

On PostgreSQL they lie in a schema of their own, ``<the ledger's>_read_<version>``, so that releases with different
versions run side by side, each on its own. In a file, which has one process, there are those of one version.
"""

import sqlalchemy as sa

from chatledger.adapters.persistence.errors import storage_errors
from chatledger.adapters.persistence.statements import statements_of
from chatledger.adapters.persistence.store import Reader
from chatledger.adapters.persistence.tables import HEAD, METADATA, READ_MODEL_VERSIONS
from chatledger.adapters.persistence.tracking import RunWriting
from chatledger.adapters.persistence.transaction import SqlTransaction
from chatledger.application.ledger.projections import READ_MODELS, READ_MODELS_VERSION
from chatledger.application.ports.storage import SchemaError
from chatledger.application.ports.versions import SeenVersions

NO_VERSION = 0

LONGEST_NAME = 63
"""Bytes. PostgreSQL cuts off what is beyond, and two schemas would be one."""


def has_read_models(connection: sa.Connection) -> bool:
    """Whether there are those of this release's version. They may lag behind."""
    this = READ_MODEL_VERSIONS.c.version == READ_MODELS_VERSION
    return connection.execute(READ_MODEL_VERSIONS.select().where(this)).first() is not None


def make_read_models(connection: sa.Connection) -> bool:
    """Make the tables, empty, where there are none yet; False where there was nothing to do.

    Raises:
        SchemaError: they cannot have a schema of their own.
    """
    schema = statements_of(connection).read_schema()
    if has_read_models(connection) or (schema is None and _has_others(connection)):
        return False
    if schema is not None:
        if len(schema.encode()) > LONGEST_NAME:
            raise SchemaError(
                f"the name of the ledger's schema is too long: {schema} has to have a place in the database"
            )
        connection.execute(sa.schema.DropSchema(schema, cascade=True, if_exists=True))
        connection.execute(sa.schema.CreateSchema(schema))
        # Where somebody took these away they were at the head, and are not.
        at_the_head = (HEAD.c.read_models == READ_MODELS_VERSION, HEAD.c.position > 0)
        connection.execute(HEAD.update().where(*at_the_head).values(read_models=NO_VERSION))
    placed = connection.execution_options(schema_translate_map={None: schema})
    METADATA.create_all(placed, [METADATA.tables[name] for name in READ_MODELS], checkfirst=False)
    row = {"version": READ_MODELS_VERSION, "position": 0, "has_successors": False}
    connection.execution_options(schema_translate_map={}).execute(READ_MODEL_VERSIONS.insert(), row)
    return True


def _has_others(connection: sa.Connection) -> bool:
    """Whether there are those of another version, in whose place only a rebuild puts others."""
    return connection.execute(READ_MODEL_VERSIONS.select()).first() is not None


class SqlVersions:
    """The versions beside this release's, on a ledger that nodes share.

    Args:
        reader: reads it.
        writing: the node's writing connection.
        run: runs work where it may take that.
    """

    def __init__(self, reader: Reader, writing: sa.Engine, run: RunWriting) -> None:
        self._reader = reader
        self._writing = writing
        self._run = run

    async def look(self) -> SeenVersions:
        """See how they stand."""
        return await self._reader.query_as_it_is(_seen)

    async def drop(self, version: int) -> bool:
        """Drop the tables of a version; False where a node has it, or another one has dropped them."""

        def work() -> bool:
            with storage_errors(), self._writing.begin() as connection:
                statements = statements_of(connection)
                schema, is_this = statements.read_schema(version), READ_MODEL_VERSIONS.c.version == version
                if schema is None or not statements.holds_alone(version):
                    return False
                if not connection.execute(READ_MODEL_VERSIONS.delete().where(is_this)).rowcount:
                    return False
                connection.execute(sa.schema.DropSchema(schema, cascade=True, if_exists=True))
                return True

        return await self._run(work)

    async def make(self) -> None:
        """Make this release's tables, empty, where there are none."""

        def work() -> None:
            with storage_errors(), self._writing.begin() as connection:
                statements_of(connection).lock_schema()
                make_read_models(connection)

        await self._run(work)


def _seen(connection: sa.Connection) -> SeenVersions:
    others = READ_MODEL_VERSIONS.c.version != READ_MODELS_VERSION
    kept = connection.execute(sa.select(READ_MODEL_VERSIONS.c.version).where(others)).scalars().all()
    in_use = set(statements_of(connection).versions_in_use()) - {READ_MODELS_VERSION}
    return SeenVersions(kept, in_use, has_read_models(connection), SqlTransaction(connection).lags_behind())
