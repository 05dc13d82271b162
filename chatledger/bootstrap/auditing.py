"""A ledger that is open for its auditor: read in one snapshot, by nothing that could write to it."""

from collections.abc import Iterator
from contextlib import contextmanager

from chatledger.adapters.persistence.audited import SqlAuditedLedger
from chatledger.adapters.persistence.database import Database
from chatledger.adapters.persistence.migrate import require_current
from chatledger.application.ports.audit import AuditedLedger
from chatledger.bootstrap.stores import SECONDS_FOR_A_COMMAND, NoStoreError


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
        with engine.connect() as connection, connection.begin():
            yield SqlAuditedLedger(connection, database.place)
    finally:
        engine.dispose()
