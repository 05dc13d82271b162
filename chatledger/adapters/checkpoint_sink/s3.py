"""An object for each checkpoint, in a bucket of any object storage that speaks S3."""

from chatledger.adapters.s3_buckets import Bucket, open_bucket
from chatledger.application.ports.notary import SignedCheckpoint, SinkUnavailableError


class S3Sink:
    """Objects named ``<origin>/<number>-<size>``, so that a list of them is in the order of signing."""

    def __init__(self, bucket: Bucket) -> None:
        import obstore  # noqa: PLC0415 - an extra, and slow to import

        self._s3 = obstore
        self._store = open_bucket(bucket)
        self._trouble: tuple[type[Exception], ...] = (obstore.exceptions.BaseError, OSError)

    async def put(self, checkpoint: SignedCheckpoint) -> None:
        """Store it. Doing so again stores the same bytes, or finds them there where nothing can be replaced.

        Raises:
            SinkUnavailableError: the storage is in trouble.
        """
        name = f"{checkpoint.origin}/{checkpoint.number:012}-{checkpoint.size}"
        try:
            await self._s3.put_async(self._store, name, checkpoint.note)
        except self._trouble as error:
            if not await self._has(name, checkpoint.note):
                raise _unavailable(error) from error

    async def _has(self, name: str, note: bytes) -> bool:
        try:
            found = await self._s3.get_async(self._store, name)
            return bytes(await found.bytes_async()) == note
        except self._trouble:
            return False

    async def close(self) -> None:
        """The library gives its connections back by itself."""


def _unavailable(error: Exception) -> SinkUnavailableError:
    """By kind alone: the library's texts hold addresses and whole answers."""
    return SinkUnavailableError(f"the object storage failed: {type(error).__name__}")
