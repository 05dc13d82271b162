"""Files in a folder, private to whoever runs the process."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import suppress
from pathlib import Path
from typing import IO
from uuid import UUID

from chatledger.application.ports.files import BlobMissingError, BlobsUnavailableError

PIECE_BYTES = 256 * 1024
INCOMING = "incoming"
SECONDS_TO_FINISH = 24 * 3_600


class FolderBlobStore:
    """One file for each id, in as many folders as a byte has values.

    What is being written lies in a folder of its own until it is whole: it has its name after it is on the disk. What
    was left unfinished goes when it is opened, which blocks: all of it, as only one process may use the folder, or,
    where it ``is_shared``, what nobody has written to for a day. Whoever opens it ``read_only`` leaves it as it is.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, *, read_only: bool = False, is_shared: bool = False) -> None:
        self._folder = folder
        self._incoming = folder / INCOMING
        if read_only:
            return
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for unfinished in self._incoming.iterdir():
            with suppress(FileNotFoundError):  # somebody else was faster
                if not is_shared or unfinished.stat().st_mtime < time.time() - SECONDS_TO_FINISH:
                    unfinished.unlink()

    async def write(self, blob_id: UUID, content: AsyncIterable[bytes]) -> None:
        """Store all of it, or nothing where ``content`` raises. It is durable when this returns.

        Raises:
            BlobsUnavailableError: the store is in trouble; nothing was stored.
        """
        unfinished = self._incoming / str(blob_id)
        try:
            file = await asyncio.to_thread(_create, unfinished)
            try:
                async for piece in content:
                    await asyncio.to_thread(file.write, piece)
                await asyncio.to_thread(_finish, file, unfinished, self._path(blob_id))
            except BaseException:
                # The file's own lock lets a thread finish that still writes while this task was cancelled.
                await asyncio.to_thread(_give_up, file, unfinished)
                raise
        except OSError as error:
            raise BlobsUnavailableError(f"files: {error.strerror}") from error

    async def read(self, blob_id: UUID, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """``length`` bytes from ``start`` on.

        Raises:
            BlobMissingError: while iterating.
            BlobsUnavailableError: while iterating.
        """
        try:
            file = await asyncio.to_thread(_open, self._path(blob_id), start)
            try:
                for at in range(0, length, PIECE_BYTES):
                    yield await asyncio.to_thread(file.read, min(PIECE_BYTES, length - at))
            finally:
                await asyncio.to_thread(file.close)
        except FileNotFoundError:
            raise BlobMissingError(str(blob_id)) from None
        except OSError as error:
            raise BlobsUnavailableError(f"files: {error.strerror}") from error

    async def delete(self, blob_id: UUID) -> None:
        """Remove it. What is not there is removed already.

        Raises:
            BlobsUnavailableError: the store is in trouble.
        """
        try:
            await asyncio.to_thread(_remove, self._path(blob_id))
        except OSError as error:
            raise BlobsUnavailableError(f"files: {error.strerror}") from error

    def _path(self, blob_id: UUID) -> Path:
        """By the last byte, which is random: the first ones of our ids are the time."""
        return self._folder / blob_id.hex[-2:] / str(blob_id)


def _create(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", PIECE_BYTES)


def _open(path: Path, start: int) -> IO[bytes]:
    file = path.open("rb")
    file.seek(start)
    return file


def _finish(file: IO[bytes], unfinished: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _sync(path.parent.parent)
    unfinished.rename(path)
    _sync(path.parent)


def _give_up(file: IO[bytes], unfinished: Path) -> None:
    with suppress(OSError):
        file.close()
    unfinished.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        return
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
