"""Those who follow messages that other nodes answer read together."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.queries.pages import AT_ONCE, Pages
from chatledger.application.system_clock import new_id
from tests.application.chat import Chat, open_chat
from tests.support.databases import settings_of


@pytest.fixture
async def chat(tmp_path: Path, database_url: str | None):
    async with open_chat(tmp_path, **settings_of(database_url)) as opened:
        yield opened


async def said(chat: Chat, count: int) -> list[UUID]:
    """Messages that were answered, each in a conversation of its own."""
    return [(await chat.answered("tokens=3")).message_id for _ in range(count)]


async def test_each_gets_what_follows_its_version(chat: Chat) -> None:
    messages, ledger = await said(chat, 3), chat.running.ledger
    pages = Pages(ledger, are_gathered=True)
    wanted = [(message_id, version) for message_id in (*messages, new_id()) for version in (0, 1, 2, 0, 100)] * 10
    assert len(set(wanted)) < AT_ONCE < len(wanted)
    async with asyncio.timeout(20):
        for _ in range(3):
            found = await asyncio.gather(*(pages.after(*one) for one in wanted))
            assert found == [await ledger.read(*one) for one in wanted]


async def test_those_who_ask_at_once_are_served_by_few_queries(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    (message_id,), ledger = await said(chat, 1), chat.running.ledger
    read_many, sizes = ledger.read_many, []

    async def counted(wanted, most):
        sizes.append(len(wanted))
        return await read_many(wanted, most)

    monkeypatch.setattr(ledger, "read_many", counted)
    pages = Pages(ledger, are_gathered=True)
    await asyncio.gather(*(pages.after(message_id, version) for version in range(100) for _ in range(3)))
    assert sum(sizes) == 100
    assert max(sizes) == AT_ONCE
    assert len(sizes) == 2


async def test_what_cannot_be_read_is_no_matter_of_the_others(chat: Chat) -> None:
    (erased, other), running = await said(chat, 2), chat.running
    (first,) = (await running.ledger.read(erased))[:1]
    await asyncio.to_thread(running.ledger.keyring.destroy, [first.key_id])
    pages = Pages(running.ledger, are_gathered=True)
    gone, found = await asyncio.gather(pages.after(erased, 0), pages.after(other, 0), return_exceptions=True)
    assert isinstance(gone, LookupError)
    assert found == await running.ledger.read(other)


async def test_a_store_in_trouble_is_told_to_all_and_then_read_again(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    (message_id,), ledger = await said(chat, 1), chat.running.ledger
    pages = Pages(ledger, are_gathered=True)

    async def fail(*_: object) -> None:
        raise StorageUnavailableError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "read_many", fail)
        asked = [pages.after(message_id, version) for version in range(5)]
        assert {type(one) for one in await asyncio.gather(*asked, return_exceptions=True)} == {StorageUnavailableError}
    assert await pages.after(message_id, 1) == await ledger.read(message_id, 1)
