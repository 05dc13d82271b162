"""Where the bytes of files are kept: sealed, apart from the ledger."""

from collections.abc import AsyncGenerator, AsyncIterable
from typing import Protocol
from uuid import UUID


class BlobMissingError(LookupError):
    """There are no such bytes."""


class BlobStore(Protocol):
    """Bytes under ids, in streams: no file is ever in memory whole. What they mean is not its business."""

    async def write(self, blob_id: UUID, content: AsyncIterable[bytes]) -> None:
        """Store all of it, or nothing where ``content`` raises. It is durable when this returns.

        Raises:
            StorageUnavailableError: the store is in trouble; nothing was stored.
        """
        ...

    def read(self, blob_id: UUID, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """``length`` bytes from ``start`` on, in pieces of any size. Whoever reads knows the size, and closes this.

        Raises:
            BlobMissingError: while iterating.
            StorageUnavailableError: while iterating.
        """
        ...

    async def delete(self, blob_id: UUID) -> None:
        """Remove it. What is not there is removed already.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        ...
