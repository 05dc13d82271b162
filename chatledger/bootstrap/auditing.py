"""A ledger that is open for its auditor: read in one snapshot, by nothing that could write to it."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from uuid import UUID

import msgspec

from chatledger.adapters.keys.key_store import NoKeyStoreError
from chatledger.adapters.keys.notary_memory import StoredNotaryMemory
from chatledger.adapters.persistence.audited import SqlAuditedLedger
from chatledger.adapters.persistence.database import Database
from chatledger.adapters.persistence.migrate import require_current
from chatledger.application.ports.audit import AuditedLedger
from chatledger.bootstrap.data_folder import open_key_store
from chatledger.bootstrap.stores import SECONDS_FOR_A_COMMAND, NoStoreError
from chatledger.settings import Settings


class Remembered(msgspec.Struct, frozen=True):
    """What the key store knows of the ledger, where whoever rewrites the ledger does not find it.

    Attributes:
        incarnation: of the ledger that the key store is of; None where nobody has said so.
        checkpoints: the last one of each log that was signed with its keys.
    """

    incarnation: UUID | None = None
    checkpoints: Sequence[bytes] = ()


def remembered(settings: Settings) -> Remembered:
    """What the key store knows, nothing where there is none.

    To be read before the ledger is: then the ledger has all that its checkpoints cover.

    Raises:
        StorageUnavailableError: the key store cannot be read.
    """
    try:
        with closing(open_key_store(settings, read_only=True)) as store:
            memory = StoredNotaryMemory(store)
            return Remembered(memory.incarnation(), memory.all_notes())
    except NoKeyStoreError:
        return Remembered()


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
    engine = database.reading(2, patience=SECONDS_FOR_A_COMMAND)
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
