"""What every sink of checkpoints promises, on real files, a real object storage, and a real HTTP server."""

from pathlib import Path

import msgspec
import obstore
import pytest

from chatledger.application.ports.notary import SignedCheckpoint, SinkUnavailableError
from tests.contracts.adapters import Kept, s3_sink


def checkpoint(number: int) -> SignedCheckpoint:
    note = f"log/one\n{number * 10}\nroot=\n\n— log/one c2lnbmF0dXJl\n".encode()
    return SignedCheckpoint(number=number, origin="log/one", size=number * 10, note=note, signed_at=0)


async def test_what_is_put_is_kept_byte_for_byte_and_in_order(kept: Kept) -> None:
    for number in (1, 2, 12):
        await kept.sink.put(checkpoint(number))
    assert await kept.notes() == [checkpoint(number).note for number in (1, 2, 12)]


async def test_the_same_one_may_come_again(kept: Kept) -> None:
    for number in (1, 1, 2, 2):
        await kept.sink.put(checkpoint(number))
    assert set(await kept.notes()) == {checkpoint(1).note, checkpoint(2).note}


async def test_a_sink_that_is_away_says_so_and_takes_the_next_when_it_is_back(kept: Kept) -> None:
    await kept.sink.put(checkpoint(1))
    kept.go_away()
    with pytest.raises(SinkUnavailableError) as refused:
        await kept.sink.put(checkpoint(2))
    assert "127.0.0.1" not in str(refused.value)
    assert "/" not in str(refused.value)
    kept.come_back()
    await kept.sink.put(checkpoint(2))
    assert await kept.notes() == [checkpoint(1).note, checkpoint(2).note]


async def test_where_nothing_can_be_replaced_what_is_there_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise obstore.exceptions.PermissionDeniedError("the object is locked")

    async with s3_sink(tmp_path) as kept:
        await kept.sink.put(checkpoint(1))
        monkeypatch.setattr(obstore, "put_async", refuse)
        await kept.sink.put(checkpoint(1))
        with pytest.raises(SinkUnavailableError):
            await kept.sink.put(msgspec.structs.replace(checkpoint(1), note=b"another"))
        with pytest.raises(SinkUnavailableError):
            await kept.sink.put(checkpoint(2))
