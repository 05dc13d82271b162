"""The key store as a file of its own, apart from the ledger and from its backups."""

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatledger.adapters.keys.key_store import GONE, NoKeyStoreError, Row, schema_of
from chatledger.adapters.sqlite_files import connect_to_read
from chatledger.application.ports.storage import StorageUnavailableError

log = logging.getLogger(__name__)

TIMEOUT_MS = 10_000
SCRUB_TIMEOUT_MS = 500
"""New keys wait behind it, and with them commits."""

SQLITE_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS keys (
    number INTEGER PRIMARY KEY,
    key_id BLOB NOT NULL UNIQUE,
    parent_id BLOB,
    wrapped BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS keys_by_parent ON keys (parent_id);
{schema_of(numbered="INTEGER", blob="BLOB")}
"""


class SqliteKeyStore:
    """A file, in which rows are overwritten where they stand, and those of ``keys`` never deleted.

    Where SQLite has to make room or to close a gap it moves rows from page to page, and what stays behind of a moved
    row not even ``secure_delete`` overwrites.

    Attributes:
        place: the file.
        is_read_only: whether nothing may be written by this connection.
        turn: held by who uses the connection. Whoever reads and then keeps what it read holds it over both.

    Raises:
        NoKeyStoreError: it is not there, and is not to be made.
        StorageUnavailableError: the key store cannot be read or written.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self.place = str(path)
        self.is_read_only = read_only
        self.turn = threading.RLock()
        if read_only:
            if not path.exists():
                raise NoKeyStoreError(f"there is no {path}")
            with key_store_errors(sqlite3.OperationalError):
                self._connection = connect_to_read(path, timeout=TIMEOUT_MS / 1000)
            return
        self._connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=TIMEOUT_MS / 1000
        )
        path.chmod(0o600)
        try:
            self._open()
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> None:
        # Any other error is one of a file that is no key store, which does not pass by itself.
        with key_store_errors(sqlite3.OperationalError):
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.executescript(SQLITE_SCHEMA)
        # What a process that was killed has overwritten may still be in the log. Without room for that it waits.
        try:
            self.scrub()
        except StorageUnavailableError as error:
            log.warning("keys that were overwritten earlier may be left until the next one is destroyed: %s", error)

    def read(self, query: str, *values: Any) -> Sequence[Row]:
        """The rows of a query.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        with self.turn, key_store_errors():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Whatever is read inside is of one moment.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        with self.turn, key_store_errors():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    @contextmanager
    def write(self, *, briefly: bool = False) -> Iterator["_Writing"]:  # noqa: ARG002 - no other process is there
        """A transaction, durable once it is left.

        Raises:
            StorageUnavailableError: the key store cannot be written; nothing has changed.
        """
        with self.turn, key_store_errors():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield _Writing(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def scrub(self) -> None:
        """Leave nothing in the write-ahead log of what was overwritten.

        Raises:
            StorageUnavailableError: the key store cannot be written, or somebody else has been reading it for long.
        """
        with self.turn, key_store_errors():
            self._connection.execute(f"PRAGMA busy_timeout = {SCRUB_TIMEOUT_MS}")
            try:
                is_held, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {TIMEOUT_MS}")
        if is_held:
            raise StorageUnavailableError("key store: its log is being read, and cannot be emptied")

    def require_writable(self) -> None:
        """Pass where it can be written.

        Raises:
            StorageUnavailableError: it cannot.
        """
        with self.turn, key_store_errors():
            # Nobody reads it; SQLite writes it whatever it was.
            self._connection.execute("PRAGMA user_version = 1")

    def remove(self) -> None:
        """Overwrite all keys, and remove the file.

        Raises:
            StorageUnavailableError: it cannot be written; what was overwritten may be in its log still.
        """
        with self.turn:
            with self.write() as writing:
                writing.execute("UPDATE keys SET wrapped = ?", GONE)
            self.scrub()
            self.close()
            self._path.unlink()

    def close(self) -> None:
        """Close the file."""
        with self.turn:  # whoever scrubs in another thread
            self._connection.close()


class _Writing:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, *values: Any) -> Sequence[Row]:
        return self._connection.execute(statement, values).fetchall()

    def execute_many(self, statement: str, rows: Sequence[Row]) -> int:
        return self._connection.executemany(statement, rows).rowcount

    def shred(self, key_ids: Sequence[bytes] | None) -> None:
        """Nothing: SQLite overwrites a row where it stands, and the log is emptied by :meth:`SqliteKeyStore.scrub`."""


@contextmanager
def key_store_errors(kind: type[sqlite3.Error] = sqlite3.Error) -> Iterator[None]:
    """Errors of the file become ours.

    Raises:
        StorageUnavailableError: it cannot be read or written.
    """
    try:
        yield
    except kind as error:
        raise StorageUnavailableError(f"key store: {error}") from error
