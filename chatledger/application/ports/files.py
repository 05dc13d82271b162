"""Where the bytes of files are kept: sealed, apart from the ledger."""

from collections.abc import AsyncGenerator, AsyncIterable
from typing import Protocol
from uuid import UUID

from chatledger.application.ports.storage import StorageUnavailableError


class BlobsUnavailableError(StorageUnavailableError):
    """The bytes cannot be had or stored right now. The ledger may well do."""


class BlobMissingError(LookupError):
    """There are no such bytes."""


class BlobStore(Protocol):
    """Bytes under ids, in streams: no file is ever in memory whole. What they mean is not its business."""

    async def write(self, blob_id: UUID, content: AsyncIterable[bytes]) -> None:
        """Store all of it, or nothing where ``content`` raises. It is durable when this returns.

        Raises:
            BlobsUnavailableError: the store is in trouble; nothing was stored.
        """
        ...

    def read(self, blob_id: UUID, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """``length`` bytes from ``start`` on, in pieces of any size. Whoever reads knows the size, and closes this.

        Raises:
            BlobMissingError: while iterating.
            BlobsUnavailableError: while iterating.
        """
        ...

    async def delete(self, blob_id: UUID) -> None:
        """Remove it. What is not there is removed already.

        Raises:
            BlobsUnavailableError: the store is in trouble.
        """
        ...
