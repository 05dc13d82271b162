"""Taking the bytes of files from one store to another, sealed as they are."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from chatledger.application.audit.exporting import FileBytes, Progress
from chatledger.application.files.sealing import sealed_size
from chatledger.application.ports.files import BlobMissingError, BlobStore


class CarriedFiles(msgspec.Struct, frozen=True):
    """What became of the files.

    Attributes:
        carried: how many are there now.
        missing: how many the source has not, or not whole: erased ones.
    """

    carried: int
    missing: int


async def carry_files(
    files: Sequence[FileBytes], source: BlobStore, target: BlobStore, progress: Progress
) -> CarriedFiles:
    """Copy files one after another, in pieces. What is there already is written anew.

    Raises:
        BlobsUnavailableError: one of the stores is in trouble.
    """
    carried = 0
    for number, file in enumerate(files, 1):
        try:
            async with aclosing(_whole(file, source)) as pieces:
                await target.write(file.file_id, pieces)
        except BlobMissingError:
            pass
        else:
            carried += 1
        progress(number, len(files))
    return CarriedFiles(carried, len(files) - carried)


async def _whole(file: FileBytes, source: BlobStore) -> AsyncGenerator[bytes, None]:
    expected, found = sealed_size(file.size), 0
    async with aclosing(source.read(file.file_id, 0, expected)) as pieces:
        async for piece in pieces:
            found += len(piece)
            yield piece
    if found != expected:
        raise BlobMissingError(str(file.file_id))
