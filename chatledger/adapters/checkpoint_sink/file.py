"""A file that checkpoints are appended to: on another disk, or on another machine's."""

import asyncio
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path

from chatledger.application.ports.notary import SignedCheckpoint, SinkUnavailableError


class FileSink:
    """Notes one after another, each followed by an empty line.

    The file may be one that can only be appended to: what a power cut has cut short stays, and the next note begins
    after an empty line of its own.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._appending: asyncio.Future[None] | None = None

    async def put(self, checkpoint: SignedCheckpoint) -> None:
        """Append it. Where it is the last one already nothing is done.

        Raises:
            SinkUnavailableError: the file cannot be written.
        """
        # Whoever gave up an earlier one has left its thread at work: two would spoil each other's notes.
        if self._appending is not None:
            await asyncio.wait([self._appending])
        self._appending = asyncio.ensure_future(asyncio.to_thread(self._append, checkpoint.note + b"\n"))
        try:
            await asyncio.shield(self._appending)
        except OSError as error:
            raise SinkUnavailableError(f"the file cannot be written: {error.strerror}") from error

    async def close(self) -> None:
        """Nothing is open between two checkpoints."""

    def _append(self, note: bytes) -> None:
        with self._path.open("a+b", buffering=0) as file:
            end = _tail(file, len(note) + 2)
            if end.endswith(note):
                return
            size, whole = file.tell(), note if not end or end.endswith(b"\n\n") else b"\n\n" + note
            try:
                while whole:
                    whole = whole[file.write(whole) :]
                os.fsync(file.fileno())
                if size == 0:
                    _sync_folder(self._path.parent)
            except OSError:
                with suppress(OSError):  # a file that can only be appended to keeps it
                    file.truncate(size)
                raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tail(file: FileIO, length: int) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - length))
    return file.read(length)
