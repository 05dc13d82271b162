"""SQLite: a file, one connection that writes, and some that read."""

import os
import sqlite3
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.database import Durability, Wake
from chatledger.adapters.persistence.lock import DataFolderLock
from chatledger.adapters.persistence.statements import (
    EVENT_COLUMNS,
    SELECT_HEAD,
    STREAM_COLUMNS,
    HeadRow,
    Row,
    insert_rows,
)
from chatledger.adapters.sqlite_files import connect_to_read
from chatledger.application.ledger.projections import READ_MODELS_VERSION
from chatledger.application.ports.storage import StorageUnavailableError

BUSY_TIMEOUT_MS = 10_000
CACHED_STATEMENTS = 512
SCRUB_TIMEOUT_MS = 20
"""What commits may have to wait for while readers are to let go of the log."""


class SqliteDatabase:
    """A ledger in a file of its own, with one process that writes.

    Only the one writing connection checkpoints: SQLite before 3.51.3 can corrupt a file where two do so at once.
    ``relaxed`` durability syncs at checkpoints only; a power cut may then cost the last commits, a crash of the process
    costs nothing.
    """

    def __init__(self, path: Path, durability: Durability = "full") -> None:
        self._path = path
        self._durability = durability

    has_one_writer = True

    @property
    def place(self) -> str:
        """The file."""
        return str(self._path.absolute())

    def exists(self) -> bool:
        """Whether there is a file."""
        return self._path.exists()

    def require_free(self, *, as_node: bool = False) -> None:  # noqa: ARG002 - a file has one server
        """Pass where a server could begin.

        Raises:
            StoreBusyError: another one has it; the text says who.
        """
        DataFolderLock(self._path).require_free()

    @contextmanager
    def alone(self) -> Iterator[sa.Engine]:
        """The writing connection, for the one process that may have it.

        Raises:
            StoreBusyError: another server has it, in this process or in another.
        """
        with DataFolderLock(self._path):
            engine = sqlite_engine(self._path, self._durability)
            try:
                yield engine
            finally:
                # Nobody else may have the file while a thread still writes to it; where none can connect, none does.
                with suppress(sa.exc.TimeoutError, sa.exc.DBAPIError):
                    engine.connect().close()
                engine.dispose()

    def as_node(self) -> AbstractContextManager[sa.Engine]:
        """The same as :meth:`alone`: a file has one process that writes."""
        return self.alone()

    def shared(self) -> AbstractContextManager[sa.Engine]:
        """The same as :meth:`alone`: a file has one process that writes."""
        return self.alone()

    def reading(self, connections: int = 4, *, patience: float = 0.0) -> sa.Engine:  # noqa: ARG002 - a file does not keep waiting
        """Connections that cannot write, and leave the file as it is."""
        return sqlite_engine(self._path, read_only=True, connections=connections)

    def beside(self, name: str) -> sa.Engine:
        """A file of its own, beside the ledger's. What is deleted there is overwritten."""
        return sqlite_engine(self._path.with_name(f"{name}.db"), "relaxed")

    def news(self, wake: Wake) -> AbstractContextManager[object]:  # noqa: ARG002 - the one writer is in this process
        """Nothing: whoever commits is in this process."""
        return nullcontext()


def sqlite_engine(
    path: Path, durability: Durability = "full", *, read_only: bool = False, connections: int = 4
) -> sa.Engine:
    """An engine on a SQLite file in WAL mode."""
    if not read_only:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: _connect(path, durability, read_only=read_only),
        poolclass=sa.pool.QueuePool,
        pool_size=connections if read_only else 1,
        max_overflow=0,
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _connect(path: Path, durability: Durability, *, read_only: bool) -> sqlite3.Connection:
    timeout = BUSY_TIMEOUT_MS / 1000
    if read_only:
        connection = connect_to_read(path, timeout=timeout, cached_statements=CACHED_STATEMENTS)
    else:
        connection = sqlite3.connect(
            path,
            isolation_level=None,
            check_same_thread=False,
            timeout=timeout,
            cached_statements=CACHED_STATEMENTS,
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'full' else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint=4000")
        connection.execute("PRAGMA journal_size_limit=67108864")
        connection.execute("PRAGMA secure_delete=ON")
    connection.execute("PRAGMA cache_size=-16000")
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


@lru_cache(8_192)
def _shared_id(raw: bytes) -> UUID:
    """The same object for all rows that have it, since making one costs more than reading a row."""
    return UUID(bytes=raw)


_SELECT_STREAM = f"""
SELECT category, key_id, {", ".join(EVENT_COLUMNS)} FROM events JOIN streams ON number = stream
WHERE stream_id = ? AND version > ? AND version <= ? ORDER BY version
"""  # noqa: S608 - names of our own


class SqliteStatements:
    """The statements of a connection to SQLite. BEGIN IMMEDIATE has taken the lock before the first of them."""

    no_limit = -1
    is_lost = False

    def __init__(self, connection: sa.Connection) -> None:
        self._driver = cast("sqlite3.Connection", connection.connection.driver_connection)

    @staticmethod
    def value(value: Any) -> Any:
        """A parameter as the driver takes it quickest: it seeks an adapter for all ``bytes``, for no bytearray."""
        kind = type(value)
        if kind is UUID:
            return bytearray(value.bytes)
        return bytearray(value) if kind is bytes else value

    @staticmethod
    def id_as_bytes(column: str) -> str:
        """The column as it is."""
        return column

    @staticmethod
    def shared_id(raw: bytes) -> UUID:
        """An id that many rows have."""
        return _shared_id(raw)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Sequence[Row]:
        """Run a statement; its rows."""
        return self._driver.execute(sql, parameters).fetchall()

    def pages(self, sql: str, size: int) -> Generator[Sequence[Row], None, None]:
        """Its rows, so many at a time."""
        with closing(self._driver.execute(sql)) as cursor:
            while page := cursor.fetchmany(size):
                yield page

    def pages_ahead(self, sql: str, size: int) -> Generator[Sequence[Row], None, None]:
        """The same: whoever looks at these rows has made them."""
        return self.pages(sql, size)

    def batch(self) -> AbstractContextManager[object]:
        """Statements run one after the other: there is nobody to wait for."""
        return nullcontext()

    def lock_schema(self) -> None:
        """BEGIN IMMEDIATE has done it."""

    def lock(self) -> HeadRow:
        """The head as it stands under the lock."""
        return HeadRow(*self._driver.execute(SELECT_HEAD).fetchone())

    def touch(self) -> None:
        """Not a row: SQLite passes over a value that stays what it was. Nobody reads this one."""
        self._driver.execute("PRAGMA user_version = 1")

    def require_room(self, room: int) -> None:
        """By what the file system says: SQLite would take room for what it then keeps, or for nothing.

        Raises:
            StorageUnavailableError: there is less, or the file is not where it was.
        """
        (*_, file), *_ = self._driver.execute("PRAGMA database_list").fetchall()
        try:
            disk = os.statvfs(file)
        except OSError as error:
            raise StorageUnavailableError(str(error)) from error
        # What is set aside for root only root can use.
        free = (disk.f_bavail if os.geteuid() else disk.f_bfree) * disk.f_frsize
        if free < room:
            raise StorageUnavailableError(f"database or disk is full: {free} bytes are free, {room} are needed")

    def append(self, streams: Sequence[Row], events: Sequence[Row], head: HeadRow) -> None:
        """Insert new streams and events and move the head."""
        self.fill("streams", STREAM_COLUMNS, streams)
        self.fill("events", EVENT_COLUMNS, events)
        moved = "UPDATE head SET position = ?, recorded_at = ?, last_stream = ?, read_models = ?"
        self._driver.execute(moved, (head.position, head.recorded_at, head.last_stream, head.read_models))

    def fill(self, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
        """Insert many rows."""
        for sql, parameters in insert_rows(table, columns, rows):
            self._driver.execute(sql, parameters)

    def read_schema(self, version: int = READ_MODELS_VERSION) -> str | None:  # noqa: ARG002 - a file has those of one
        """None: a file has one process that writes, and read models of one version."""
        return None

    def versions_in_use(self) -> Collection[int]:
        """That one."""
        return (READ_MODELS_VERSION,)

    def holds_alone(self, version: int) -> bool:  # noqa: ARG002 - for the same reason
        """False: whoever asks is there."""
        return False

    def try_to_rebuild(self) -> int | None:
        """It is, for the same reason."""
        return 0

    def is_rebuilt_by(self, rebuilder: int) -> bool:  # noqa: ARG002 - for the same reason
        """True."""
        return True

    def end_rebuild(self) -> None:
        """Nothing, for the same reason."""

    def is_rebuilding(self) -> bool:
        """False: whoever asks is the one who would."""
        return False

    def transaction_name(self) -> str:
        """None: a snapshot has the tables of its time, names and all."""
        return ""

    def is_seen_by_all(self, transaction_name: str) -> bool:  # noqa: ARG002 - for the same reason
        """True."""
        return True

    def hold(self, tables: Sequence[str]) -> None:
        """Nothing, for the same reason."""

    def analyze(self, table: str) -> None:
        """Nothing: queries are planned by what indexes there are."""

    def select_streams(self, wanted: Sequence[tuple[UUID, int]], most: int) -> Sequence[Row]:
        """Events of many streams, one after the other: no statement has far to go."""
        return [
            (place, *row)
            for place, (stream_id, after) in enumerate(wanted)
            for row in self.execute(_SELECT_STREAM, (self.value(stream_id), after, after + most))
        ]

    def scrub(self) -> bool:
        """Empty the log; False where a reader is in the way."""
        self._driver.execute(f"PRAGMA busy_timeout = {SCRUB_TIMEOUT_MS}")
        try:
            is_held, *_ = self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        return not is_held

    def remove_rows(self, table: str, most: int) -> bool:
        """Remove some rows: to drop a table takes as long as there are pages in it."""
        some = f"SELECT rowid FROM {table} LIMIT ?"  # noqa: S608 - names come from our own tables
        return self._driver.execute(f"DELETE FROM {table} WHERE rowid IN ({some})", (most,)).rowcount > 0  # noqa: S608
