"""Which ledger the key store is of, and the last note of each log, in the key store."""

from collections.abc import Sequence
from uuid import UUID

from chatledger.adapters.keys.key_store import KeyStore

_OF_LEDGER = "INSERT INTO ledger VALUES (1, ?) ON CONFLICT (singleton)"
_REMEMBER = "INSERT INTO last_notes VALUES (?, ?) ON CONFLICT (origin) DO UPDATE SET note = excluded.note"


class StoredNotaryMemory:
    """One row for each log, and one for the ledger."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store

    def incarnation(self) -> UUID | None:
        """Of which ledger the key store is; None where nobody has said so yet. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        rows = self._store.read("SELECT incarnation FROM ledger")
        return UUID(bytes=rows[0][0]) if rows else None

    def settle(self, incarnation: UUID) -> UUID:
        """Of which ledger the key store is: of this one, where nobody has said so yet. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be written.
        """
        with self._store.write() as writing:
            writing.execute(f"{_OF_LEDGER} DO NOTHING", incarnation.bytes)
        return self.incarnation() or incarnation

    def move(self, incarnation: UUID) -> None:
        """It is of this ledger from here on: somebody has said so. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be written.
        """
        with self._store.write() as writing:
            writing.execute(f"{_OF_LEDGER} DO UPDATE SET incarnation = excluded.incarnation", incarnation.bytes)

    def all_notes(self) -> Sequence[bytes]:
        """The last note of each log, whichever it is. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        return [note for (note,) in self._store.read("SELECT note FROM last_notes ORDER BY origin")]

    def recall(self, origin: str) -> bytes | None:
        """The last note of a log. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        rows = self._store.read("SELECT note FROM last_notes WHERE origin = ?", origin)
        return rows[0][0] if rows else None

    def remember(self, origin: str, note: bytes, *, instead_of: bytes | None) -> bool:
        """Keep this one in the place of another, durably; False where that is not the last note any more. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be written.
        """
        with self._store.write() as writing:
            rows = writing.execute("SELECT note FROM last_notes WHERE origin = ?", origin)
            if (rows[0][0] if rows else None) != instead_of:
                return False
            writing.execute(_REMEMBER, origin, note)
        return True
