"""One server per data folder."""

import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from chatledger.application.ports.storage import StorageUnavailableError, StoreBusyError

_Inode = tuple[int, int]

_held: set[_Inode] = set()
_held_guard = threading.Lock()


class DataFolderLock:
    """Held from entering to leaving, or to the death of the process in whatever way.

    The system lets go of an ``flock`` when the last copy of its descriptor is closed, so the file may stay; removing it
    would let two servers lock two files of one name. Some network file systems grant every lock that the same process
    asks for, hence the registry.

    Args:
        path: the database file. The lock is on a file beside it: SQLite loses its own locks on a file that its process
            opens and closes a second time.
    """

    def __init__(self, path: Path) -> None:
        path = path.resolve()
        self._path = path.with_name(f"{path.name}.lock")
        self._descriptor: int | None = None
        self._inode: _Inode = (0, 0)

    def __enter__(self) -> Self:
        """Take the lock, at once or not at all.

        Raises:
            StoreBusyError: another server has it, in this process or in another.
            StorageUnavailableError: the file cannot be written.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._inode = self._lock(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise StorageUnavailableError(f"{self._path}: {error.strerror}") from error
        self._descriptor = descriptor
        return self

    def _lock(self, descriptor: int) -> _Inode:
        stat = os.fstat(descriptor)
        inode = (stat.st_dev, stat.st_ino)
        with _held_guard:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._busy(descriptor) from None
            if inode in _held:
                raise self._busy(descriptor)
            # Of a fixed width, so that a reader in between finds the old holder or the new one, never none.
            os.pwrite(descriptor, f"{os.getpid():<20}\n".encode(), 0)
            _held.add(inode)
        return inode

    def require_free(self) -> None:
        """Pass where nobody has it. Nothing is made or written.

        Raises:
            StoreBusyError: a server has it, in this process or in another.
            StorageUnavailableError: the file cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise self._busy(file.fileno()) from None
                if (stat.st_dev, stat.st_ino) in _held:
                    raise self._busy(file.fileno())
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageUnavailableError(f"{self._path}: {error.strerror}") from error

    def _busy(self, descriptor: int) -> StoreBusyError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        return StoreBusyError(f"{self._path.parent} is in use by another server, process {holder}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        if self._descriptor is not None:
            with _held_guard:
                _held.discard(self._inode)
                os.close(self._descriptor)
            self._descriptor = None
