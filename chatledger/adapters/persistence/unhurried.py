"""Transactions that do not wait for the disk."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import sqlalchemy as sa

from chatledger.adapters.persistence.errors import storage_errors


@contextmanager
def unhurried(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that does not wait for the disk, at which the ledger's own commits would have to queue.

    A power cut may take the last of these transactions back, whole: it is for what follows from the ledger, and can be
    done again.

    Raises:
        StorageUnavailableError: the store is in trouble; nothing was written.
    """
    with storage_errors(), engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            with _unsynchronized(connection), connection.begin():
                yield connection
        else:
            with connection.begin():
                connection.execute(sa.text("SET LOCAL synchronous_commit TO off"))
                yield connection


@contextmanager
def _unsynchronized(connection: sa.Connection) -> Iterator[None]:
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    (before,) = driver.execute("PRAGMA synchronous").fetchone()
    driver.execute("PRAGMA synchronous=NORMAL")
    try:
        yield
    finally:
        driver.execute(f"PRAGMA synchronous={before}")
