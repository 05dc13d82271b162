"""What every blob store promises."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable

import pytest

from chatledger.application.ports.files import BlobMissingError
from chatledger.application.system_clock import new_id

MORE_THAN_A_PART = 9 * 1024 * 1024
"""Than the S3 adapter sends or fetches in one request."""


async def in_pieces(content: bytes, size: int = 65_564) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def joined(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def raising(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    raise EOFError("the client has gone")


@pytest.mark.parametrize("size", [1, 1000, 300_000, MORE_THAN_A_PART])
async def test_what_was_written_is_read(blobs, size: int) -> None:
    blob_id, content = new_id(), random.Random(size).randbytes(size)
    await blobs.write(blob_id, in_pieces(content))
    assert await joined(blobs.read(blob_id, 0, size)) == content


async def test_any_part_can_be_read_by_itself(blobs) -> None:
    blob_id, content = new_id(), random.Random(1).randbytes(MORE_THAN_A_PART)
    await blobs.write(blob_id, in_pieces(content))
    for start, length in [(0, 1), (5, 10), (70_000, 700_000), (MORE_THAN_A_PART - 3, 3), (100, 5_000_000)]:
        assert await joined(blobs.read(blob_id, start, length)) == content[start : start + length]


async def test_a_reader_may_go_before_the_end(blobs) -> None:
    blob_id = new_id()
    await blobs.write(blob_id, in_pieces(bytes(1_000_000)))
    reading = blobs.read(blob_id, 0, 1_000_000)
    assert await anext(reading)
    await reading.aclose()
    await blobs.delete(blob_id)


@pytest.mark.parametrize("pieces", [[], [b"some"], [bytes(1024 * 1024)] * 10], ids=["at once", "small", "large"])
async def test_content_that_fails_leaves_nothing_and_fails_as_it_is(blobs, pieces: list[bytes]) -> None:
    blob_id = new_id()
    with pytest.raises(EOFError, match="the client has gone"):
        await blobs.write(blob_id, raising(pieces))
    with pytest.raises(BlobMissingError):
        await joined(blobs.read(blob_id, 0, 1))
    await blobs.write(blob_id, in_pieces(b"a second try"))
    assert await joined(blobs.read(blob_id, 0, 12)) == b"a second try"


async def test_a_write_that_is_cancelled_leaves_nothing_and_waits_for_nothing(blobs) -> None:
    blob_id, has_begun, has_ended = new_id(), asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield bytes(1000)
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            has_ended.set()

    writing = asyncio.create_task(blobs.write(blob_id, endless()))
    await has_begun.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    async with asyncio.timeout(5):
        await has_ended.wait()
    with pytest.raises(BlobMissingError):
        await joined(blobs.read(blob_id, 0, 1))


async def test_what_was_deleted_is_gone_and_may_be_deleted_again(blobs) -> None:
    blob_id, other = new_id(), new_id()
    await blobs.write(blob_id, in_pieces(b"some"))
    await blobs.write(other, in_pieces(b"other"))
    await blobs.delete(blob_id)
    await blobs.delete(blob_id)
    with pytest.raises(BlobMissingError):
        await joined(blobs.read(blob_id, 0, 1))
    assert await joined(blobs.read(other, 0, 5)) == b"other"


async def test_many_are_written_and_read_at_once(blobs) -> None:
    contents = {new_id(): random.Random(number).randbytes(100_000) for number in range(8)}
    await asyncio.gather(*(blobs.write(blob_id, in_pieces(content)) for blob_id, content in contents.items()))
    assert await asyncio.gather(*(joined(blobs.read(blob_id, 0, 100_000)) for blob_id in contents)) == list(
        contents.values()
    )
