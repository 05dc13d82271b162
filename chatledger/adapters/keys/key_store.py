"""Where keys are stored: one connection to a file of SQLite or to a schema in PostgreSQL, and what both promise."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from chatledger.adapters.keys.cipher import WRAPPED_BYTES
from chatledger.application.ports.storage import StorageUnavailableError

Row = tuple[Any, ...]

GONE = bytes(WRAPPED_BYTES)
"""What stands in place of a destroyed key, so that nothing can be put there again."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (
    number {numbered} PRIMARY KEY,
    what TEXT NOT NULL,
    key_ids {blob} NOT NULL
);
CREATE TABLE IF NOT EXISTS agreement (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    position BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS signing_keys (
    key_id {blob} PRIMARY KEY,
    purpose TEXT NOT NULL,
    retired_at BIGINT
);
CREATE TABLE IF NOT EXISTS ledger (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    incarnation {blob} NOT NULL
);
CREATE TABLE IF NOT EXISTS last_notes (
    origin TEXT PRIMARY KEY,
    note {blob} NOT NULL
);
"""

SMALL_TABLES = {
    "agreement": ("singleton", "position"),
    "signing_keys": ("key_id", "purpose", "retired_at"),
    "ledger": ("singleton", "incarnation"),
    "last_notes": ("origin", "note"),
}
"""What a copy has beside the keys, by the names of the columns."""


class NoKeyStoreError(StorageUnavailableError):
    """There is none yet, and whoever only reads makes none."""


def schema_of(*, numbered: str, blob: str) -> str:
    """The tables beside ``keys``, in a database that has these types for rows that it numbers and for bytes."""
    return _SCHEMA.format(numbered=numbered, blob=blob)


class KeyStoreWriting(Protocol):
    """A transaction. Nobody else writes before its end. Parameters are marked by ``?``."""

    def execute(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run a statement; its rows."""
        ...

    def execute_many(self, statement: str, rows: Sequence[Row]) -> int:
        """Run a statement for each of these; how many rows it has changed."""
        ...

    def shred(self, key_ids: Sequence[bytes] | None) -> None:
        """Have what was overwritten in the rows of these keys, or of all, be gone once this is committed and scrubbed.

        What they wrapped opens no more, wherever it is left.
        """
        ...


class KeyStore(Protocol):
    """One connection, used by one thread at a time.

    Rows of ``keys`` are appended and overwritten, never deleted.
    """

    @property
    def place(self) -> str:
        """Where it is, without any secret."""
        ...

    @property
    def is_read_only(self) -> bool:
        """Whether nothing may be written by this connection."""
        ...

    @property
    def turn(self) -> AbstractContextManager[object]:
        """Held by who uses the connection. Whoever reads and then keeps what it read holds it over both.

        Raises:
            StorageUnavailableError: on entering, where another thread has had it for too long.
        """
        ...

    def read(self, query: str, *values: Any) -> Sequence[Row]:
        """The rows of a query, whose parameters are marked by ``?``.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """Whatever is read inside is of one moment.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        ...

    def write(self, *, briefly: bool = False) -> AbstractContextManager[KeyStoreWriting]:
        """A transaction, durable once it is left. While others are waited for, the turn may be somebody else's.

        Args:
            briefly: whether to wait for other processes for a moment only.

        Raises:
            StorageUnavailableError: the key store cannot be written; nothing has changed, but where the connection
                was lost at the very end.
        """
        ...

    def scrub(self) -> None:
        """Leave nothing in any file of what was overwritten and shredded, by this process or another.

        Raises:
            StorageUnavailableError: the key store cannot be written, or somebody else has been reading it for long.
                What is left is known to whoever scrubs next.
        """
        ...

    def require_writable(self) -> None:
        """Pass where it can be written.

        Raises:
            StorageUnavailableError: it cannot.
        """
        ...

    def remove(self) -> None:
        """Destroy all that is in it, for whoever has taken it elsewhere. Nobody uses it after that.

        Raises:
            StorageUnavailableError: it cannot be written.
        """
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...
