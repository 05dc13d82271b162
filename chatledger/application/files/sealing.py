"""A file's bytes under its data key, chunk by chunk: neither side ever holds the whole.

Each chunk is sealed by AES-256-GCM for its place: file, index, and whether it is the last one. So a chunk that is
changed, moved, repeated, dropped or taken from another file does not open, and neither does a file that ends early. The
construction is that of the framed body of the AWS Encryption SDK's message format (sequence number and a mark of the
final frame as associated data); its aim is that of STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: Online
Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance, 2015), here with random nonces. A key seals one file.
"""

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from uuid import UUID

from chatledger.application.ports.files import BlobStore
from chatledger.application.ports.keys import DataKey, SealBrokenError

CHUNK_BYTES = 64 * 1024
SEAL_BYTES = 28
"""A nonce in front of each sealed chunk and a tag behind it."""

_SEALED_BYTES = CHUNK_BYTES + SEAL_BYTES


def sealed_size(size: int) -> int:
    """How many bytes a file of this size has once it is sealed."""
    return size + SEAL_BYTES * max(1, -(-size // CHUNK_BYTES))


async def seal_content(key: DataKey, file_id: UUID, content: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """The sealed chunks of a file. An empty file is one empty chunk."""
    index = 0
    async with aclosing(_regrouped(content, CHUNK_BYTES)) as chunks:
        before: bytes | None = None
        async for chunk in chunks:
            if before is not None:
                yield key.seal(before, _place(file_id, index, is_last=False))
                index += 1
            before = chunk
        yield key.seal(before or b"", _place(file_id, index, is_last=True))


async def open_content(
    key: DataKey, blobs: BlobStore, file_id: UUID, size: int, start: int = 0, stop: int | None = None
) -> AsyncGenerator[bytes, None]:
    """The bytes of a file of this size from ``start`` up to ``stop``; reads only the chunks that hold them.

    Raises:
        SealBrokenError: while iterating: what is stored is not what was sealed, or not all of it.
        BlobMissingError: while iterating.
        StorageUnavailableError: while iterating.
    """
    stop = size if stop is None else min(stop, size)
    last = max(size - 1, 0) // CHUNK_BYTES
    first, final = start // CHUNK_BYTES, max(stop - 1, start, 0) // CHUNK_BYTES
    length = (final - first) * _SEALED_BYTES + min(size - final * CHUNK_BYTES, CHUNK_BYTES) + SEAL_BYTES
    stored = blobs.read(file_id, first * _SEALED_BYTES, length)
    index = first
    async with aclosing(stored), aclosing(_regrouped(stored, _SEALED_BYTES)) as sealed_chunks:
        async for sealed in sealed_chunks:
            chunk = key.open(sealed, _place(file_id, index, is_last=index == last))
            begins = index * CHUNK_BYTES
            yield chunk[max(start - begins, 0) : stop - begins]
            index += 1
    if index <= final:
        raise SealBrokenError(f"file {file_id} ends early")


def _place(file_id: UUID, index: int, *, is_last: bool) -> bytes:
    return b"chatledger file chunk " + file_id.bytes + index.to_bytes(8, "big") + bytes([is_last])


async def _regrouped(pieces: AsyncIterable[bytes], size: int) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of this size; only the last one may be shorter."""
    held = bytearray()
    async for piece in pieces:
        held += piece
        at = 0
        while len(held) - at >= size:
            yield bytes(held[at : at + size])
            at += size
        del held[:at]
    if held:
        yield bytes(held)
