"""Uploads whose request is cancelled: no bytes without a fact, and no fact without bytes."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from chatledger.application.ledger.ledger import Ledger
from chatledger.application.people import People
from tests.application.chat import Chat, until


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


def stored(chat: Chat) -> list[UUID]:
    return [UUID(path.name) for path in (chat.settings.data_dir / "files").rglob("*") if path.is_file()]


async def test_a_cancelled_upload_leaves_no_bytes_where_it_is_on_no_record(chat, monkeypatch):
    is_waiting = asyncio.Event()

    async def wait(*_: object) -> None:
        is_waiting.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(People, "meet", wait)
    upload = asyncio.create_task(chat.application.uploading.upload(chat.caller(), "a.txt", in_pieces(b"sent")))
    await asyncio.wait_for(is_waiting.wait(), 10)
    assert len(stored(chat)) == 1

    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload

    assert stored(chat) == []


async def test_an_upload_that_is_cancelled_in_its_commit_keeps_its_bytes(chat, monkeypatch):
    hand_in = Ledger.hand_in

    def cancelling(*staged, **more):
        task = asyncio.current_task()
        task.cancel()
        return hand_in(*staged, **more)

    monkeypatch.setattr(Ledger, "hand_in", cancelling)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(chat.application.uploading.upload(chat.caller(), "a.txt", in_pieces(b"sent")))

    (file_id,) = stored(chat)
    file = await until(lambda: chat.application.views.file(file_id))
    assert b"".join([piece async for piece in chat.application.files.content(file)]) == b"sent"
