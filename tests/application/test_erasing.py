"""Erasing a person: what is stopped, what is left, who is met after it, and what stands in the way."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest

from chatledger.adapters.persistence.transaction import SqlTransaction
from chatledger.adapters.persistence.views.erasure import SqlErasureViews
from chatledger.application.caller import Auditor
from chatledger.application.erasure.destroying import Destroying
from chatledger.application.erasure.erasing import Erasing
from chatledger.application.errors import HeldError, NotFoundError
from chatledger.application.ports.erasure import Erasure
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import MessageView, Page
from chatledger.application.system_clock import new_id
from chatledger.domain.conversation import Conversation
from chatledger.domain.events import EndUserErased
from chatledger.domain.message import Message
from tests.application.chat import DEADLINE, Chat, until
from tests.support.databases import ON_SQLITE
from tests.support.server import a_context


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def person(chat: Chat, user: str = "ada") -> UUID:
    return await chat.application.end_users.named(chat.app.app_id, "service-api", user)


async def erase(chat: Chat, user: str = "ada") -> Erasure:
    erasing = chat.application.erasing
    erasure = await erasing.request(await person(chat, user), a_context())
    done = await erasing.until_done(erasure.end_user_id, DEADLINE)
    assert done.erased_position is not None
    return done


async def said(chat: Chat, answer: str, user: str = "ada") -> MessageView:
    """An answered message of a conversation of its own."""
    sent = await chat.send(f"text={answer}", user=user)
    await chat.to_the_end(sent)
    view = await chat.application.views.message(sent.message_id)
    assert view is not None
    return view


async def names_of(chat: Chat, stream_id: UUID) -> list[str]:
    facts, _ = await chat.application.facts.stream(stream_id, 0, 100)
    return [type(fact.envelope.body).__name__ for fact in facts]


async def require_equal_replay(chat: Chat) -> None:
    """What a replay makes of the ledger is what the rows say."""
    report = await chat.application.rebuilding.rebuild()
    assert {table.table: table.different for table in report.tables if table.differences} == {}
    assert report.differences == 0


async def test_all_that_was_a_persons_is_erased_and_nobody_elses(chat):
    first = await said(chat, "secret", "ada")
    deleted = await said(chat, "deleted", "ada")
    await chat.application.deleting.delete(chat.caller(), deleted.conversation_id)
    file = await chat.application.uploading.upload(chat.caller(), "a.txt", in_pieces(b"bytes of ada"))
    running = await chat.send("tokens=2 interval_ms=3600000", user="ada")
    await chat.first_text(chat.batches(running))
    other = await said(chat, "other", "bob")

    erasure = await erase(chat)

    auditor = Auditor(operator_id=None, correlation_id=chat.application.new_id())
    for message_id in (first.message_id, deleted.message_id, running.message_id):
        with pytest.raises(KeyDestroyedError):
            await chat.application.history.message(auditor, message_id)
        with pytest.raises(KeyDestroyedError):
            await chat.running.ledger.load(Message, message_id)
    names = await names_of(chat, running.message_id)
    assert names[-2:] == ["StopRequested", "MessageStopped"]
    for conversation_id in (first.conversation_id, deleted.conversation_id, running.conversation_id):
        assert (await names_of(chat, conversation_id))[-1] == "ConversationErased"
    assert await names_of(chat, file.file_id) == ["FileUploaded", "FileErased"]
    assert [path for path in (chat.settings.data_dir / "files").rglob("*") if path.is_file()] == []
    last = await chat.running.ledger.event_at(erasure.erased_position)
    assert last.body == EndUserErased(conversations=3, files=1)

    assert (await chat.application.history.message(chat.caller("bob"), other.message_id)).answer == "other"
    await require_equal_replay(chat)


async def test_a_persons_keys_go_though_they_are_so_many_that_the_ledgers_lock_is_lost(chat, monkeypatch):
    def has_lost_it(_: SqlTransaction) -> None:
        raise StorageUnavailableError("it took too long")

    await said(chat, "secret")
    monkeypatch.setattr(SqlTransaction, "require_lock", has_lost_it)
    await erase(chat)


async def test_who_comes_back_under_the_same_name_is_a_new_person(chat):
    before = await said(chat, "old", "ada")
    old = await person(chat)
    erasure = await chat.application.erasing.request(old, a_context())
    with pytest.raises(NotFoundError):
        await person(chat)
    after = await said(chat, "new", "ada")
    assert await person(chat) != old
    await chat.application.erasing.until_done(erasure.end_user_id, DEADLINE)

    assert after.answer == "new"
    with pytest.raises(NotFoundError):
        await chat.application.history.message(chat.caller(), before.message_id)
    listed, _ = await chat.application.history.conversations(chat.caller(), "-updated_at", Page(20))
    assert [each.conversation_id for each in listed] == [after.conversation_id]


async def test_a_send_that_was_on_its_way_is_a_new_persons_or_refused(chat):
    sent = await said(chat, "old", "ada")
    end_users = chat.application.end_users
    known = await end_users.find(chat.app.app_id, "service-api", "ada")
    old = await person(chat)
    await erase(chat)

    # As if it had looked before the erasure.
    end_users._known[chat.app.app_id, "service-api", "ada"] = known
    sending = asyncio.create_task(chat.send("text=new", user="ada"))
    await asyncio.sleep(0)
    end_users._known.clear()
    new = await sending
    await chat.to_the_end(new)
    assert (await chat.view(new.message_id)).answer == "new"
    assert await person(chat) != old

    end_users._known[chat.app.app_id, "service-api", "ada"] = known
    with pytest.raises((KeyDestroyedError, NotFoundError)):
        await chat.send("text=more", user="ada", conversation=sent.conversation_id)
    await require_equal_replay(chat)


async def test_a_legal_hold_is_in_the_way_until_it_is_released(chat):
    await said(chat, "kept", "ada")
    holds, held = chat.application.holds, await person(chat)
    first = await holds.place(held, "a case", a_context())
    second = await holds.place(held, "another", a_context())
    auditor = Auditor(operator_id=None, correlation_id=new_id())
    assert [hold.reason for hold in (await holds.page(auditor, chat.app.app_id, Page(20)))[0]] == ["another", "a case"]
    for hold in (first, second):
        with pytest.raises(HeldError):
            await chat.application.erasing.request(held, a_context())
        await holds.release(hold.hold_id, a_context())
    with pytest.raises(NotFoundError):
        await holds.release(first.hold_id, a_context())
    await erase(chat)
    with pytest.raises(KeyDestroyedError):
        await holds.place(held, "too late", a_context())


async def test_asking_again_changes_nothing_and_nobody_can_be_erased_who_is_not_there(chat):
    await said(chat, "something")
    erasure = await erase(chat)
    head = (await chat.running.store.head()).position
    assert await chat.application.erasing.request(erasure.end_user_id, a_context()) == erasure
    assert (await chat.running.store.head()).position == head
    with pytest.raises(NotFoundError):
        await chat.application.erasing.request(chat.app.app_id, a_context())
    with pytest.raises(NotFoundError):
        await chat.application.erasing.request(UUID(int=1), a_context())


@ON_SQLITE
async def test_whoever_waits_hears_of_the_end_though_others_wait_no_longer(open_chat, monkeypatch):
    async def fail(*_: object) -> None:
        raise StorageUnavailableError("not yet")

    monkeypatch.setattr("chatledger.application.erasure.erasing.LOOK_INTERVAL", 0.05)
    async with open_chat() as chat:
        await said(chat, "something")
        with monkeypatch.context() as broken:
            broken.setattr(Destroying, "destroy", fail)
            erasing = chat.application.erasing
            erasure = await erasing.request(await person(chat), a_context())
            patient = asyncio.create_task(erasing.until_done(erasure.end_user_id, 2 * DEADLINE))
            await asyncio.sleep(0)
            assert (await erasing.until_done(erasure.end_user_id, 0.05)).erased_position is None
        async with asyncio.timeout(DEADLINE):
            assert (await patient).erased_position is not None


STEPS = {
    "nothing is destroyed yet": (Destroying, "destroy"),
    "the keys are gone": (Erasing, "_conversation"),
    "the conversations are on record": (Erasing, "_file"),
    "the files are on record": (SqlErasureViews, "belongings"),
}


@pytest.mark.parametrize("step", STEPS)
async def test_what_an_earlier_process_began_is_finished(open_chat, monkeypatch, step):
    async def fail(*_: object) -> None:
        raise StorageUnavailableError("the process is about to die")

    async with open_chat() as chat:
        sent = await said(chat, "old")
        file = await chat.application.uploading.upload(chat.caller(), "a.txt", in_pieces(b"bytes of ada"))
        end_user_id = await person(chat)
        with monkeypatch.context() as broken:
            owner, name = STEPS[step]
            broken.setattr(owner, name, fail)
            await chat.application.erasing.request(end_user_id, a_context())
            await chat.application.erasing.until_done(end_user_id, 0.5)
    async with open_chat() as chat:
        done = await chat.application.erasing.until_done(end_user_id, DEADLINE)
        assert done.erased_position is not None
        assert (await names_of(chat, sent.conversation_id)).count("ConversationErased") == 1
        assert (await names_of(chat, file.file_id)).count("FileErased") == 1
        assert (await names_of(chat, end_user_id)) == ["EndUserSeen", "ErasureRequested", "EndUserErased"]
        await require_equal_replay(chat)


async def test_a_person_whose_answers_do_not_end_is_erased_once_they_have(open_chat, monkeypatch):
    monkeypatch.setattr("chatledger.application.erasure.erasing.SECONDS_TO_STOP", 0.1)
    monkeypatch.setattr("chatledger.application.erasure.erasing.LOOK_INTERVAL", 0.1)
    async with open_chat(with_worker=False) as chat:
        sent = await chat.send("text=never", user="ada")
        sent.follower.close()
        await erase(chat)
        assert (await names_of(chat, sent.message_id))[-1] == "MessageStopped"


async def test_a_conversation_that_has_rested_for_too_long_is_erased_and_the_person_is_not(chat, monkeypatch):
    old = await said(chat, "old", "ada")
    held = await said(chat, "held", "bob")
    await chat.application.holds.place(await person(chat, "bob"), "a case", a_context())
    file = await chat.application.uploading.upload(chat.caller(), "a.txt", in_pieces(b"bytes of ada"))
    now, clock = chat.application.clock.now, chat.application.clock
    monkeypatch.setattr(type(clock), "now", lambda _: now() + timedelta(days=31))
    young = await said(chat, "young", "ada")
    await chat.application.apps.set_retention(chat.app.app_id, 30, a_context())

    await until(partial(is_erased, chat, old.conversation_id))
    await until(partial(is_file_erased, chat, file.file_id))
    listed, _ = await chat.application.history.conversations(chat.caller(), "-updated_at", Page(20))
    assert [(each.conversation_id, each.is_erased) for each in listed] == [
        (young.conversation_id, False),
        (old.conversation_id, True),
    ]
    (tombstone,) = await chat.history(old.conversation_id)
    assert (tombstone.query, tombstone.answer, tombstone.is_erased) == ("", "", True)
    assert not await is_erased(chat, held.conversation_id)
    with pytest.raises(KeyDestroyedError):
        await chat.send("text=more", user="ada", conversation=old.conversation_id)
    await chat.application.deleting.delete(chat.caller(), old.conversation_id)
    await require_equal_replay(chat)


async def is_file_erased(chat: Chat, file_id: UUID) -> bool:
    return await names_of(chat, file_id) == ["FileUploaded", "FileErased"]


async def is_erased(chat: Chat, conversation_id: UUID) -> bool:
    staged = await chat.running.ledger.load(Conversation, conversation_id, even_erased=True)
    return staged is not None and staged.aggregate.is_erased


async def test_those_that_cannot_be_erased_keep_nobody_else_waiting(chat, monkeypatch):
    monkeypatch.setattr("chatledger.application.erasure.erasing.AT_ONCE", 2)
    monkeypatch.setattr("chatledger.application.erasure.erasing.LOOK_LIMIT", 2, raising=False)
    monkeypatch.setattr("chatledger.application.erasure.erasing.LOOK_INTERVAL", 0.05)
    erase_one, stuck = Erasing._erase, []

    async def hang_or_fail(self: Erasing, erasure: Erasure) -> None:
        if erasure.end_user_id == stuck[0]:
            await asyncio.Event().wait()
        if erasure.end_user_id in stuck:
            raise RuntimeError("not yet")
        await erase_one(self, erasure)

    monkeypatch.setattr(Erasing, "_erase", hang_or_fail)
    for user in ("ann", "bob", "cid"):
        await said(chat, "kept", user)
        stuck.append(await person(chat, user))
        await chat.application.erasing.request(stuck[-1], a_context())
    await said(chat, "gone", "ada")
    await erase(chat)


@ON_SQLITE
async def test_what_an_erased_person_was_found_by_is_in_no_file(chat, monkeypatch):
    monkeypatch.setattr("chatledger.application.erasure.destroying.SECONDS_BETWEEN_SCRUBS", 0.01)
    monkeypatch.setattr("chatledger.application.erasure.erasing.LOOK_INTERVAL", 0.1)
    await said(chat, "something")
    lookup = chat.application.end_users.lookup(chat.app.app_id, "service-api", "ada").encode()

    def holding() -> list[str]:
        files = [path for path in chat.settings.data_dir.rglob("*") if path.is_file()]
        return [path.name for path in files if lookup in path.read_bytes()]

    assert holding() != []
    with closing(sqlite3.connect(chat.settings.data_dir / "ledger.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM end_users").fetchall()
        erasure = await chat.application.erasing.request(await person(chat), a_context())
        waiting = await chat.application.erasing.until_done(erasure.end_user_id, 0.5)
        assert waiting.erased_position is None, "somebody could still read it"
        await said(chat, "else", "bob")
    done = await chat.application.erasing.until_done(erasure.end_user_id, DEADLINE)
    assert done.erased_position is not None
    assert holding() == []
