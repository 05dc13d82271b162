"""The last note of each log, in the key store."""

from chatledger.adapters.keys.file import KeyStoreFile


class SqliteNotaryMemory:
    """One row for each log."""

    def __init__(self, file: KeyStoreFile) -> None:
        self._file = file

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
