"""A file's bytes sealed chunk by chunk, under real keys."""

import random
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.application.files.sealing import CHUNK_BYTES, SEAL_BYTES, open_content, seal_content
from chatledger.application.ports.keys import DataKey, SealBrokenError
from chatledger.application.system_clock import new_id
from tests.support.master_keys import master_key

FILE = UUID(int=7)
SEALED_BYTES = CHUNK_BYTES + SEAL_BYTES
SIZES = st.one_of(
    st.integers(0, 100),
    st.integers(-2, 2).flatmap(
        lambda off: st.sampled_from([CHUNK_BYTES, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES]).map(lambda at: at + off)
    ),
)
quickly = settings(max_examples=30, deadline=None)


class Blobs:
    """One file's sealed bytes, in memory; counts what is read of them."""

    def __init__(self, sealed: bytes) -> None:
        self.sealed = sealed
        self.bytes_read = 0

    async def read(self, blob_id: UUID, start: int, length: int) -> AsyncGenerator[bytes, None]:
        for at in range(start, min(start + length, len(self.sealed)), 10_000):
            piece = self.sealed[at : min(at + 10_000, start + length)]
            self.bytes_read += len(piece)
            yield piece


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataKey]:
    folder: Path = tmp_path_factory.mktemp("keys")
    keyring = StoredKeyring(SqliteKeyStore(folder / "keys.db"), master_key(folder), new_id)
    yield keyring.key(keyring.new_key(None).key_id)
    keyring.close()


async def in_pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def joined(pieces: AsyncIterable[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def sealed_by(key: DataKey, content: bytes, file_id: UUID = FILE) -> bytes:
    return await joined(seal_content(key, file_id, in_pieces(content, 50_000)))


@quickly
@given(size=SIZES, piece=st.integers(1_000, 200_000))
async def test_what_was_sealed_opens_whatever_pieces_it_came_in(key: DataKey, size: int, piece: int) -> None:
    content = random.Random(size).randbytes(size)
    sealed = await joined(seal_content(key, FILE, in_pieces(content, piece)))
    assert len(sealed) == size + SEAL_BYTES * max(1, -(-size // CHUNK_BYTES))
    assert await joined(open_content(key, Blobs(sealed), FILE, size)) == content


@quickly
@given(data=st.data())
async def test_any_range_opens_by_itself(key: DataKey, data: st.DataObject) -> None:
    size = 3 * CHUNK_BYTES + 5
    content = random.Random(1).randbytes(size)
    blobs = Blobs(await sealed_by(key, content))
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    assert await joined(open_content(key, blobs, FILE, size, start, stop)) == content[start:stop]
    assert blobs.bytes_read <= stop - start + 2 * SEALED_BYTES + 4 * SEAL_BYTES


CONTENT = random.Random(2).randbytes(3 * CHUNK_BYTES)


def moved(chunks: list[bytes]) -> list[bytes]:
    return [chunks[1], chunks[0], chunks[2]]


def repeated(chunks: list[bytes]) -> list[bytes]:
    return [chunks[0], chunks[0], chunks[2]]


def dropped(chunks: list[bytes]) -> list[bytes]:
    return [chunks[0], chunks[2]]


def cut_at_a_chunk(chunks: list[bytes]) -> list[bytes]:
    return chunks[:2]


def cut_within_a_chunk(chunks: list[bytes]) -> list[bytes]:
    return [*chunks[:2], chunks[2][:100]]


def changed(chunks: list[bytes]) -> list[bytes]:
    return [chunks[0], bytes([chunks[1][0] ^ 1]) + chunks[1][1:], chunks[2]]


def emptied(chunks: list[bytes]) -> list[bytes]:
    return []


@pytest.mark.parametrize(
    "damage", [moved, repeated, dropped, cut_at_a_chunk, cut_within_a_chunk, changed, emptied], ids=lambda f: f.__name__
)
async def test_what_was_damaged_does_not_open(key: DataKey, damage) -> None:
    sealed = await sealed_by(key, CONTENT)
    chunks = [sealed[at : at + SEALED_BYTES] for at in range(0, len(sealed), SEALED_BYTES)]
    assert len(chunks) == 3
    with pytest.raises(SealBrokenError):
        await joined(open_content(key, Blobs(b"".join(damage(chunks))), FILE, len(CONTENT)))


async def test_a_file_that_was_cut_does_not_pass_for_a_shorter_one(key: DataKey) -> None:
    sealed = await sealed_by(key, CONTENT)
    with pytest.raises(SealBrokenError):
        await joined(open_content(key, Blobs(sealed[: 2 * SEALED_BYTES]), FILE, 2 * CHUNK_BYTES))


async def test_another_file_s_bytes_do_not_open(key: DataKey) -> None:
    sealed = await sealed_by(key, CONTENT, UUID(int=8))
    with pytest.raises(SealBrokenError):
        await joined(open_content(key, Blobs(sealed), FILE, len(CONTENT)))


async def test_no_more_than_a_few_chunks_are_held_at_once(key: DataKey) -> None:
    """Sealing asks for the next piece only once all but one chunk of the earlier ones is out."""
    given_out = taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal given_out
        for _ in range(100):
            given_out += CHUNK_BYTES // 2
            yield bytes(CHUNK_BYTES // 2)

    async for chunk in seal_content(key, FILE, pieces()):
        taken += len(chunk) - SEAL_BYTES
        assert given_out - taken <= 2 * CHUNK_BYTES
    assert taken == given_out == 50 * CHUNK_BYTES
