"""Which ledger the key store is of, and the last note of each log, in the key store."""

from collections.abc import Sequence
from uuid import UUID

from chatledger.adapters.keys.file import KeyStoreFile


class SqliteNotaryMemory:
    """One row for each log, and one for the ledger."""

    def __init__(self, file: KeyStoreFile) -> None:
        self._file = file

    def incarnation(self) -> UUID | None:
        """Of which ledger the key store is; None where nobody has said so yet. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        rows = self._file.read("SELECT incarnation FROM ledger")
        return UUID(bytes=rows[0][0]) if rows else None

    def settle(self, incarnation: UUID) -> UUID:
        """Of which ledger the key store is: of this one, where nobody has said so yet. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be written.
        """
        with self._file.write() as connection:
            connection.execute("INSERT OR IGNORE INTO ledger VALUES (1, ?)", (incarnation.bytes,))
        return self.incarnation() or incarnation

    def move(self, incarnation: UUID) -> None:
        """It is of this ledger from here on: somebody has said so. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be written.
        """
        with self._file.write() as connection:
            connection.execute("INSERT OR REPLACE INTO ledger VALUES (1, ?)", (incarnation.bytes,))

    def all_notes(self) -> Sequence[bytes]:
        """The last note of each log, whichever it is. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        return [note for (note,) in self._file.read("SELECT note FROM last_notes ORDER BY origin")]

    def recall(self, origin: str) -> bytes | None:
        """The last note of a log. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        rows = self._file.read("SELECT note FROM last_notes WHERE origin = ?", origin)
        return rows[0][0] if rows else None

    def remember(self, origin: str, note: bytes) -> None:
        """Keep this one in its place, durably. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be written.
        """
        with self._file.write() as connection:
            connection.execute("INSERT OR REPLACE INTO last_notes VALUES (?, ?)", (origin, note))
