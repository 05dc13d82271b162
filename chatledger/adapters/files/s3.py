"""Files in a bucket of any object storage that speaks S3."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from uuid import UUID

from chatledger.adapters.s3_buckets import Bucket, open_bucket
from chatledger.application.ports.files import BlobMissingError, BlobsUnavailableError

PIECE_BYTES = 4 * 1024 * 1024
"""What one request reads. Each has a timeout of its own, so that a slow reader of a large file meets none."""

PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 2
"""A part is what one request writes; so many are in memory for each file that is being written."""


class S3BlobStore:
    """One object for each id, in a bucket of its own or under a prefix of it."""

    def __init__(self, bucket: Bucket) -> None:
        import obstore  # noqa: PLC0415 - an extra, and slow to import

        self._s3 = obstore
        self._store = open_bucket(bucket)
        self._trouble: tuple[type[Exception], ...] = (obstore.exceptions.BaseError, OSError)

    async def write(self, blob_id: UUID, content: AsyncIterable[bytes]) -> None:
        """Store all of it, or nothing where ``content`` raises. It is durable when this returns.

        Raises:
            BlobsUnavailableError: the store is in trouble; nothing was stored.
        """
        pieces = _Pieces(content)
        try:
            await self._s3.put_async(
                self._store, str(blob_id), pieces, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
            )
        except asyncio.CancelledError:
            pieces.cancel()
            raise
        except Exception as error:
            if pieces.failure is not None:
                raise pieces.failure from None
            if isinstance(error, self._trouble):
                raise self._unavailable(error) from error
            raise

    async def read(self, blob_id: UUID, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """``length`` bytes from ``start`` on.

        Raises:
            BlobMissingError: while iterating.
            BlobsUnavailableError: while iterating.
        """
        for at in range(start, start + length, PIECE_BYTES):
            stop = min(at + PIECE_BYTES, start + length)
            try:
                piece = await self._s3.get_range_async(self._store, str(blob_id), start=at, end=stop)
            except FileNotFoundError:
                raise BlobMissingError(str(blob_id)) from None
            except self._trouble as error:
                raise self._unavailable(error) from error
            yield bytes(piece)

    async def delete(self, blob_id: UUID) -> None:
        """Remove it. What is not there is removed already.

        Raises:
            BlobsUnavailableError: the store is in trouble.
        """
        try:
            await self._s3.delete_async(self._store, str(blob_id))
        except FileNotFoundError:
            return
        except self._trouble as error:
            raise self._unavailable(error) from error

    async def check(self) -> None:
        """Ask whether the bucket is there and lets us in.

        Raises:
            BlobsUnavailableError: it is not, or does not.
        """
        try:
            await self._s3.list_with_delimiter_async(self._store)
        except self._trouble as error:
            raise self._unavailable(error) from error

    @staticmethod
    def _unavailable(error: Exception) -> BlobsUnavailableError:
        """By kind alone: the library's texts hold addresses and whole answers."""
        return BlobsUnavailableError(f"files: the object storage failed: {type(error).__name__}")


class _Pieces:
    """What the library reads a file's content from. It keeps what the content raises, which is its reader's."""

    def __init__(self, content: AsyncIterable[bytes]) -> None:
        self._content = aiter(content)
        self._next: asyncio.Future[bytes] | None = None
        self.failure: Exception | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._next = asyncio.ensure_future(self._one())
        return await self._next

    def cancel(self) -> None:
        """Stop waiting for the content: the library goes without a word to it."""
        if self._next is not None:
            self._next.cancel()

    async def _one(self) -> bytes:
        try:
            return await anext(self._content)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.failure = error
            raise
