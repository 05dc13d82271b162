"""Files in a bucket of any object storage that speaks S3."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from chatledger.application.ports.files import BlobMissingError, BlobsUnavailableError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config

PIECE_BYTES = 4 * 1024 * 1024
"""What one request reads. Each has a timeout of its own, so that a slow reader of a large file meets none."""

PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 2
"""A part is what one request writes; so many are in memory for each file that is being written."""

CONNECT_TIMEOUT = timedelta(seconds=5)
REQUEST_TIMEOUT = timedelta(seconds=60)
RETRY_FOR = timedelta(seconds=20)
RETRIES = 3


class S3BlobStore:
    """One object for each id, by the ``obstore`` library, whose work is done by threads of its own.

    Attributes:
        bucket: it has to exist.
        prefix: in front of each name; a folder, as the tools for buckets show it.
        endpoint: where the storage is, if it is not Amazon's. Its buckets are then named in the path.
        access_key_id: without it and its secret, what the environment says (``AWS_ACCESS_KEY_ID`` and so on).
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        region: str = "us-east-1",
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
    ) -> None:
        import obstore  # noqa: PLC0415 - an extra, and slow to import
        from obstore.store import S3Store  # noqa: PLC0415

        config: S3Config = {"region": region, "disable_bulk_delete": True}
        client: ClientConfig = {"connect_timeout": CONNECT_TIMEOUT, "timeout": REQUEST_TIMEOUT}
        if endpoint is not None:
            config |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
            client["allow_http"] = endpoint.startswith("http://")
        if access_key_id is not None and secret_access_key is not None:
            config |= {"access_key_id": access_key_id, "secret_access_key": secret_access_key}
        self._s3 = obstore
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            config=config,
            client_options=client,
            retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_FOR},
        )
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
