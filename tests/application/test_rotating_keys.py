"""Rotating keys: all that was said is read as before, and what is said meanwhile too."""

import asyncio
from pathlib import Path

import pytest

from chatledger.application.errors import NotFoundError
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.system_clock import new_id
from chatledger.domain.events import EndUserKeyRotated, MasterKeyRotated
from chatledger.domain.key_store import KEY_STORE_ID
from tests.application.test_erasing_on_nodes import held_parts, open_node, parts_to_write
from tests.support.databases import ON_POSTGRES
from tests.support.server import a_context


async def person(chat, user: str = "ada"):
    return await chat.application.end_users.named(chat.app.app_id, "service-api", user)


async def test_rotated_under_load_everything_reads_on(open_chat):
    async with open_chat() as chat:
        said = [await chat.answered("text=before")]
        ada, rotating, ended = await person(chat), chat.application.rotating_keys, asyncio.Event()

        async def talk() -> None:
            while not ended.is_set():
                said.append(await chat.answered("text=meanwhile"))
                said.append(await chat.answered("text=on", conversation=said[0].conversation_id))

        async def rotate() -> tuple[int, int]:
            return await rotating.rotate_key_of(ada, a_context()), await rotating.rotate_master_key(a_context())

        async with asyncio.TaskGroup() as talking:
            for _ in range(2):
                talking.create_task(talk())
            counts = [await rotate() for _ in range(5)]
            ended.set()
        assert [conversations for conversations, _ in counts] == sorted(conversations for conversations, _ in counts)
        assert counts[0][0] >= 1
        assert counts[0][1] >= 3  # the app's, ada's, the one of lookups; and those that sign
    async with open_chat() as chat:
        for view in said:
            read = await chat.view(view.message_id)
            assert (read.query, read.answer) == (view.query, view.answer)
        assert await person(chat) == ada
        assert (await chat.answered("text=after")).answer == "after"
        of_store = await chat.running.ledger.read(KEY_STORE_ID)
        of_person = await chat.running.ledger.read(ada)
        assert [envelope.body for envelope in of_store] == [MasterKeyRotated(keys) for _, keys in counts]
        assert [envelope.body for envelope in of_person[1:]] == [EndUserKeyRotated(keys) for keys, _ in counts]
        fact = (await chat.application.facts.stream(KEY_STORE_ID, 0, 1))[0][0]
        assert fact.context.actor == a_context().actor


async def test_the_key_of_nobody_is_rotated(open_chat):
    async with open_chat(with_worker=False) as chat:
        (await chat.send()).follower.close()
        ada, rotating = await person(chat), chat.application.rotating_keys
        with pytest.raises(NotFoundError):
            await rotating.rotate_key_of(new_id(), a_context())
        await chat.application.erasing.request(ada, a_context())
        with pytest.raises(KeyDestroyedError):
            await rotating.rotate_key_of(ada, a_context())


@ON_POSTGRES
async def test_what_is_left_of_former_wraps_keeps_no_rotation_off_the_record(
    tmp_path: Path, database_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ordered it is told that it is not done, and orders it again."""
    monkeypatch.setattr("chatledger.adapters.keys.postgres_parts.SECONDS_TO_TRY", 0)
    async with open_node(tmp_path / "one", database_url) as chat:
        (tmp_path / "one" / "data" / "master.key.next.b").write_bytes(bytes(range(32)))
        view = await chat.answered("text=before")
        ada, rotating = await person(chat), chat.application.rotating_keys
        with held_parts(database_url):
            for rotate in (rotating.rotate_master_key(a_context()), rotating.rotate_key_of(ada, a_context())):
                with pytest.raises(StorageUnavailableError):
                    await rotate
        assert [envelope.body for envelope in (await chat.events(ada))[1:]] == [EndUserKeyRotated(1)]
        count = await rotating.rotate_master_key(a_context())
        of_store = await chat.events(KEY_STORE_ID)
        assert [envelope.body for envelope in of_store] == [MasterKeyRotated(count), MasterKeyRotated(count)]
        with held_parts(database_url) as beside:
            assert not parts_to_write(beside)
        assert (await chat.view(view.message_id)).answer == "before"
