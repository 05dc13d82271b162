"""Connections to the database, and all that differs between one database and another."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from chatledger.application.ports.storage import StorageUnavailableError

Durability = Literal["full", "relaxed"]

BUSY_TIMEOUT_MS = 10_000

_PRIMARY_CODE = 0xFF
_IN_TROUBLE = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    )
)
"""What may pass by itself, or by making room. Any other error is one of the statement, and of it alone."""


def sqlite_engine(path: Path, durability: Durability = "full", *, read_only: bool = False) -> sa.Engine:
    """An engine on a SQLite file in WAL mode.

    Only the one writing connection checkpoints: SQLite before 3.51.3 can corrupt a file where two do so at once.
    ``relaxed`` durability syncs at checkpoints only; a power cut may then cost the last commits, a crash of the process
    costs nothing.
    """
    if not read_only:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: _connect(path, durability, read_only=read_only),
        poolclass=sa.pool.QueuePool,
        pool_size=1 if not read_only else 4,
        max_overflow=0,
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _connect(path: Path, durability: Durability, *, read_only: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1000, cached_statements=512
    )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA cache_size=-16000")
    connection.execute("PRAGMA temp_store=MEMORY")
    if read_only:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA wal_autocheckpoint=0")
    else:
        connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'full' else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint=4000")
        connection.execute("PRAGMA journal_size_limit=67108864")
    return connection


@contextmanager
def storage_errors() -> Iterator[None]:
    """The driver's word for a store in trouble becomes ours; a violated constraint stays what it is.

    Raises:
        StorageUnavailableError: disk full, file locked, database away.
    """
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise StorageUnavailableError("no connection became free in time") from error
    except (sqlite3.Error, sa.exc.DBAPIError) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if isinstance(cause, sqlite3.Error) and _PRIMARY_CODE & getattr(cause, "sqlite_errorcode", 0) in _IN_TROUBLE:
            raise StorageUnavailableError(str(cause)) from error
        raise


def to_driver(value: Any) -> Any:
    """A parameter as the SQLite driver takes it quickest: it seeks an adapter for all ``bytes``, for no bytearray."""
    kind = type(value)
    if kind is UUID:
        return bytearray(value.bytes)
    return bytearray(value) if kind is bytes else value
