"""A person is erased on one node: what another node of the ledger had at hand of them is gone, too."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest

from chatledger.adapters import postgres_connections
from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.postgres import PostgresKeyStore
from chatledger.adapters.postgres_connections import PostgresAddress
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.storage import LAST_POSITION, StorageUnavailableError, Transaction
from chatledger.domain.message import Message
from tests.application.chat import DEADLINE, Chat, open_chat, until
from tests.application.test_erasing import erase, is_erased, names_of, person, said
from tests.support.databases import ON_POSTGRES, settings_of
from tests.support.master_keys import master_key
from tests.support.server import a_context

pytestmark = ON_POSTGRES


@asynccontextmanager
async def open_node(folder: Path, database_url: str | None) -> AsyncIterator[Chat]:
    settings = settings_of(database_url) | {"queue": "postgres", "files_url": f"file://{folder.parent / 'files'}"}
    (folder / "data").mkdir(parents=True)
    master_key(folder / "data")
    async with open_chat(folder, **settings) as chat:
        yield chat


@pytest.fixture
async def nodes(tmp_path: Path, database_url: str | None) -> AsyncIterator[tuple[Chat, Chat]]:
    async with open_node(tmp_path / "one", database_url) as one, open_node(tmp_path / "other", database_url) as other:
        yield one, other


async def test_what_is_erased_on_one_node_is_gone_from_the_other(nodes: tuple[Chat, Chat]) -> None:
    one, other = nodes
    first = await said(one, "secret", "ada")
    kept = await said(one, "kept", "bob")
    ledger, keyring = other.running.ledger, other.running.ledger.keyring
    for user, message in (("ada", first), ("bob", kept)):
        assert (await other.application.history.message(other.caller(user), message.message_id)).answer
        await ledger.load(Message, message.message_id)
    staged = await ledger.load(Message, first.message_id)
    assert staged is not None
    key = keyring.key(staged.key_id)

    await erase(one, "ada")

    async def is_gone() -> bool:
        try:
            key.seal(b"text", b"")
        except KeyDestroyedError:
            return keyring.cached(staged.key_id) is None
        return False

    assert await is_gone()  # by the time that it is on record as erased
    with pytest.raises(KeyDestroyedError):
        await ledger.load(Message, first.message_id)
    assert (await names_of(other, first.conversation_id))[-1] == "ConversationErased"
    assert (await other.application.history.message(other.caller("bob"), kept.message_id)).answer == "kept"


async def test_a_node_that_cannot_know_what_is_erased_shows_nothing_until_it_can(nodes: tuple[Chat, Chat]) -> None:
    one, other = nodes
    erased, kept = await said(one, "secret", "ada"), await said(one, "kept", "bob")
    ledger, history = other.running.ledger, other.application.history
    store = cast("StoredKeyring", ledger.keyring).store
    assert isinstance(store, PostgresKeyStore)
    staged = await ledger.load(Message, erased.message_id)
    assert staged is not None
    ledger.keep_hot(staged)
    assert (await history.message(other.caller("ada"), erased.message_id)).answer

    address, store._address = store._address, PostgresAddress("postgresql://nobody@127.0.0.1:1/nothing")
    with store.turn:
        assert store._connection is not None
        store._connection.close()

    async def shows_nothing() -> bool:
        try:
            await history.message(other.caller("bob"), kept.message_id)
        except StorageUnavailableError:
            return not ledger._hot
        return False

    await until(shows_nothing)
    await erase(one, "ada")
    with pytest.raises(StorageUnavailableError):
        await ledger.load(Message, erased.message_id)

    store._address = address

    async def shows_again() -> bool:
        with suppress(StorageUnavailableError):
            return bool((await history.message(other.caller("bob"), kept.message_id)).answer)
        return False

    await until(shows_again)
    with pytest.raises(KeyDestroyedError):
        await ledger.load(Message, erased.message_id)


async def test_what_one_node_rotates_the_other_checks_by(nodes: tuple[Chat, Chat]) -> None:
    one, other = nodes
    for chat in nodes:
        assert chat.application.signing_keys.newest() == one.application.signing_keys.newest()
    fresh = await asyncio.to_thread(one.application.signing_keys.rotate, forget_earlier=True)
    message = await said(one, "secret", "ada")
    person = await one.application.end_users.named(one.app.app_id, "service-api", "ada")
    await one.application.rotating_keys.rotate_key_of(person, a_context())

    async def is_known() -> bool:
        return other.application.signing_keys.newest() == fresh

    await until(is_known)
    again = await said(other, "more", "ada")
    for chat in nodes:
        for view in (message, again):
            assert (await chat.application.history.message(chat.caller(), view.message_id)).answer == view.answer


@pytest.fixture
def soon_taken_for_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_connections, "SECONDS_TO_STAND_STILL", 0.5)


@pytest.mark.usefixtures("soon_taken_for_still")
async def test_what_is_held_while_a_node_stands_still_before_it_destroys_the_key_stays(
    nodes: tuple[Chat, Chat],
) -> None:
    one, other = nodes
    message, ada, loop = await said(one, "held", "ada"), await person(one), asyncio.get_running_loop()
    key_id = (await one.running.ledger.read(message.conversation_id))[0].key_id
    assert key_id is not None

    def rested(ledger: Transaction) -> bool:
        return ledger.is_conversation_at_rest(message.conversation_id, LAST_POSITION)

    def choose(ledger: Transaction) -> Collection[UUID]:
        assert rested(ledger)
        placing = other.application.holds.place(ada, "a case", a_context())
        asyncio.run_coroutine_threadsafe(placing, loop).result(DEADLINE)
        return {key_id}

    with pytest.raises(StorageUnavailableError):
        await one.application.erasing._destroying.destroy(choose)
    for chat in nodes:
        chat.running.ledger.keyring.catch_up()
        assert (await chat.application.history.message(chat.caller("ada"), message.message_id)).answer == "held"
    chosen = await one.application.erasing._destroying.destroy(lambda ledger: {key_id} if rested(ledger) else ())
    assert not chosen


connect = partial(psycopg.connect, autocommit=True)


@contextmanager
def held_parts(database_url: str | None) -> Iterator[psycopg.Connection]:
    """No part of the table of keys that was written anew can take its place, as somebody is reading."""
    assert database_url is not None
    with connect(database_url) as beside, connect(database_url) as reading, reading.transaction():
        reading.execute("LOCK TABLE chatledger_keys.keys IN ACCESS SHARE MODE")
        yield beside


def parts_to_write(connection: psycopg.Connection) -> Sequence[Any]:
    return connection.execute("SELECT part FROM chatledger_keys.overwritten").fetchall()


async def test_while_keys_are_still_in_files_every_node_commits_and_no_erasure_is_done(
    nodes: tuple[Chat, Chat], database_url: str | None
) -> None:
    one, other = nodes
    first = await said(one, "secret", "ada")
    erasing = one.application.erasing
    with held_parts(database_url) as beside:
        erasure = await erasing.request(await person(one), a_context())

        async def is_waiting() -> bool:
            return bool(beside.execute("SELECT FROM pg_locks WHERE NOT granted AND mode ~ 'AccessExcl'").rowcount)

        await until(is_waiting)
        async with asyncio.timeout(DEADLINE):  # what writes the part anew waits for longer
            for chat, user in ((one, "bob"), (other, "eve"), (other, "bob")):
                assert (await said(chat, "beside", user)).answer == "beside"
        assert (await erasing.erasure(erasure.end_user_id)).erased_position is None
        assert "ConversationErased" not in await names_of(other, first.conversation_id)
    assert (await erasing.until_done(erasure.end_user_id, DEADLINE)).erased_position is not None
    assert (await names_of(other, first.conversation_id))[-1] == "ConversationErased"
    with held_parts(database_url) as beside:
        assert not parts_to_write(beside)


async def test_a_retention_puts_nothing_on_record_before_all_its_keys_are_out_of_the_files(
    nodes: tuple[Chat, Chat], database_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatledger.application.erasure.retaining.AT_ONCE", 1)
    one, other = nodes
    old = [(await said(one, "old", "ada")).conversation_id for _ in range(3)]
    now, clock = one.application.clock.now, type(one.application.clock)
    monkeypatch.setattr(clock, "now", lambda _: now() + timedelta(days=31))

    async def is_gone(conversation_id: UUID) -> bool:
        try:
            await other.running.ledger.read(conversation_id)
        except KeyDestroyedError:
            return True
        return False

    with held_parts(database_url):
        await one.application.apps.set_retention(one.app.app_id, 30, a_context())
        for conversation_id in old:
            await until(partial(is_gone, conversation_id))
            assert "ConversationErased" not in await names_of(other, conversation_id)
    for conversation_id in old:
        await until(partial(is_erased, other, conversation_id))


async def test_what_a_node_that_died_has_left_in_files_goes_with_the_next_one(
    tmp_path: Path, database_url: str | None
) -> None:
    async with open_node(tmp_path / "one", database_url) as one:
        message = await said(one, "secret", "ada")
        key_id = (await one.running.ledger.read(message.conversation_id))[0].key_id
        await one.running.writer.run_alone(lambda: one.running.ledger.keyring.destroy([key_id]))
        with held_parts(database_url) as beside:
            assert parts_to_write(beside)

    async with open_node(tmp_path / "other", database_url) as other:

        async def is_rid_of_it() -> bool:
            with held_parts(database_url) as beside:
                return not parts_to_write(beside)

        await until(is_rid_of_it)
        await until(partial(is_erased, other, message.conversation_id))
