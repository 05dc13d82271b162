"""A ledger that is open for its auditor: read in one snapshot, by nothing that could write to it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from sqlalchemy import select

from chatledger.adapters.keys.file import KeyStoreFile
from chatledger.adapters.keys.notary_memory import SqliteNotaryMemory
from chatledger.adapters.persistence.audited import SqlAuditedLedger
from chatledger.adapters.persistence.database import Database
from chatledger.adapters.persistence.migrate import require_current
from chatledger.adapters.persistence.tables import HEAD
from chatledger.application.ports.audit import AuditedLedger
from chatledger.bootstrap.data_folder import KEY_STORE
from chatledger.bootstrap.notary import origin_of
from chatledger.bootstrap.stores import SECONDS_FOR_A_COMMAND, NoStoreError, database_of
from chatledger.settings import Settings


def remembered_checkpoint(settings: Settings) -> bytes | None:
    """The last checkpoint that the notary keeps beside its keys, where whoever rewrites the ledger does not find it.

    To be read before the ledger is: then the ledger has all that it covers. None where there is none, or no key store.

    Raises:
        StorageUnavailableError: the key store, or the ledger, cannot be read.
    """
    database, key_store = database_of(settings), settings.data_dir / KEY_STORE
    if not database.exists() or not key_store.exists():
        return None
    engine = database.reading(1)
    try:
        require_current(engine)
        with engine.connect() as connection:
            incarnation = connection.execute(select(HEAD.c.incarnation)).scalar()
    finally:
        engine.dispose()
    with closing(KeyStoreFile(key_store, read_only=True)) as file:
        return SqliteNotaryMemory(file).recall(origin_of(settings, incarnation)) if incarnation else None


@contextmanager
def open_for_audit(database: Database) -> Iterator[AuditedLedger]:
    """Open an existing ledger; whoever writes to it may go on beside.

    Raises:
        NoStoreError: there is none.
        SchemaError: its schema is not the one of this release.
        StorageUnavailableError: it cannot be reached.
    """
    if not database.exists():
        raise NoStoreError(f"there is no ledger at {database.place}")
    engine = database.reading(1, patience=SECONDS_FOR_A_COMMAND)
    try:
        require_current(engine)
        with (
            engine.connect() as connection,
            connection.begin(),
            closing(SqlAuditedLedger(connection, database.place)) as ledger,
        ):
            yield ledger
    finally:
        engine.dispose()
