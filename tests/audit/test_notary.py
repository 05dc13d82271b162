"""The notary signs what extends what it has signed, and nothing else; whoever has its key can check that."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate

from chatledger.adapters.keys.ed25519 import is_signed_by
from chatledger.application.audit.merkle import ProofError, root, verify_consistency, verify_inclusion
from chatledger.application.audit.notarizing import Notarizing
from chatledger.application.audit.notary import NotaryProcess
from chatledger.application.audit.notes import Checkpoint, Note, VerifierKey
from chatledger.application.audit.tiles import TiledTree
from chatledger.application.context import Context
from chatledger.application.errors import InvalidParameterError, LedgerInconsistentError, NotFoundError
from chatledger.application.ledger.ledger import Staged
from chatledger.application.ports.notary import SignedCheckpoint
from chatledger.application.ports.storage import Change
from chatledger.application.system_clock import SystemClock
from chatledger.bootstrap import begin_incarnation
from chatledger.bootstrap.auditing import remembered
from chatledger.domain.app import App
from chatledger.domain.events import NotaryKeyIntroduced
from chatledger.domain.notary import NOTARY_ID
from tests.application import chat as chats
from tests.application.chat import Chat, until
from tests.audit.ledgers import verified
from tests.support.databases import ON_SQLITE, settings_of
from tests.support.receiver import Answer, Receiver
from tests.support.server import a_context

OpenChat = Callable[..., AbstractAsyncContextManager[Chat]]

MORE_THAN_TWO_TILES = 530


@pytest.fixture
def open_chat(tmp_path: Path, database_url: str | None) -> OpenChat:
    return partial(
        chats.open_chat,
        tmp_path,
        with_worker=False,
        checkpoint_interval=0,
        shutdown_grace=5,
        **settings_of(database_url),
    )


@pytest.fixture
async def chat(open_chat: OpenChat) -> AsyncIterator[Chat]:
    async with open_chat() as opened:
        yield opened


async def sign(chat: Chat) -> SignedCheckpoint:
    return await chat.application.notarizing.checkpoint(a_context())


async def record(chat: Chat, count: int = 1) -> None:
    """Events, whatever they tell."""

    def switch(staged: Staged[App]) -> None:
        for _ in range(count):
            if staged.aggregate.status == "normal":
                staged.aggregate.disable()
            else:
                staged.aggregate.enable()

    await chat.running.ledger.decide(App, chat.app.app_id, switch, a_context())


async def execute(chat: Chat, statement: str, *parameters: Any) -> Sequence[Any]:
    """SQL of somebody who has the database."""

    def work() -> Sequence[Any]:
        with chat.running.store.write() as transaction:
            result = transaction.connection.exec_driver_sql(
                statement.replace("?", _mark(transaction.connection)), parameters
            )
            return result.all() if result.returns_rows else []

    return await chat.running.writer.run_alone(work)


def _mark(connection: sa.Connection) -> str:
    return "?" if connection.dialect.name == "sqlite" else "%s"


def opened(signed: SignedCheckpoint, *keys: VerifierKey) -> tuple[Checkpoint, list[VerifierKey]]:
    note = Note.parse(signed.note)
    return Checkpoint.parse(note.text), note.verified(keys, is_signed_by)


def keys_of(chat: Chat) -> list[VerifierKey]:
    return [each.key for each in chat.application.notarizing.keys.all()]


async def leaf_at(chat: Chat, position: int) -> bytes:
    ((leaf,),) = await execute(chat, "SELECT leaf FROM events WHERE position = ?", position)
    return bytes(leaf)


async def test_a_checkpoint_covers_every_event_and_the_introduction_of_its_key(chat: Chat) -> None:
    await record(chat, 3)
    signed = await sign(chat)
    checkpoint, signers = opened(signed, *keys_of(chat))
    leaves = [bytes(leaf) for (leaf,) in await execute(chat, "SELECT leaf FROM events ORDER BY position")]
    (introduced,) = await chat.events(NOTARY_ID)

    assert checkpoint.size == len(leaves) == introduced.position
    assert introduced.body == NotaryKeyIntroduced(str(signers[0]))
    assert checkpoint.root == root(len(leaves), lambda level, at: _plain(leaves[at << level : (at + 1) << level]))
    assert signers == keys_of(chat)
    assert checkpoint.origin == signed.origin == signers[0].name
    assert checkpoint.origin.startswith("chatledger/")
    assert await sign(chat) == signed, "what is signed already is not signed again"


def _plain(leaves: Sequence[bytes]) -> bytes:
    class Leaves:
        def leaves(self, first: int, count: int) -> Sequence[bytes]:
            return leaves[first : first + count]

    return TiledTree(Leaves()).node((len(leaves) - 1).bit_length(), 0)  # type: ignore[arg-type]


@ON_SQLITE
async def test_each_event_is_proved_by_each_checkpoint_that_covers_it(chat: Chat) -> None:
    signed = []
    for count in (1, 4, MORE_THAN_TWO_TILES):
        await record(chat, count)
        signed.append(await sign(chat))
    heads = [opened(each, *keys_of(chat))[0] for each in signed]
    for head in heads:
        for position in {1, 2, head.size // 2, head.size - 1, head.size}:
            proof = await chat.application.proving.inclusion(position, head.size)
            assert proof.checkpoint == signed[heads.index(head)].note
            verify_inclusion(proof.index, head.size, await leaf_at(chat, position), proof.hashes, head.root)
    for old in heads:
        for new in heads[heads.index(old) :]:
            proof = await chat.application.proving.consistency(old.size, new.size)
            verify_consistency(old.size, new.size, old.root, new.root, proof.hashes)
    with pytest.raises(ProofError):
        verify_inclusion(0, heads[-1].size, await leaf_at(chat, 2), proof.hashes, heads[-1].root)

    await execute(chat, "UPDATE events SET leaf = ? WHERE position = 2", bytes(32))
    with pytest.raises(LedgerInconsistentError, match="are not those that were signed"):
        await chat.application.proving.consistency(heads[0].size, heads[1].size)


@ON_SQLITE
@pytest.mark.parametrize("table", ["events", "tiles"])
async def test_what_is_no_hash_at_all_is_not_taken_for_one(chat: Chat, table: str) -> None:
    await record(chat, 300)
    await sign(chat)
    await chat.application.notarizing.keep_tiles()
    column = "leaf" if table == "events" else "root"
    await execute(chat, f"UPDATE {table} SET {column} = 'a text'")
    await record(chat)
    if table == "tiles":
        assert (await sign(chat)).size == (await chat.running.store.head()).position
        await chat.application.notarizing.keep_tiles()
    else:
        with pytest.raises(LedgerInconsistentError):
            await sign(chat)
        assert await chat.application.notarizing.keep_tiles()


@ON_SQLITE
async def test_nothing_is_proved_of_what_was_not_signed(chat: Chat) -> None:
    proving = chat.application.proving
    with pytest.raises(NotFoundError):
        await proving.checkpoint()
    size = (await sign(chat)).size
    await record(chat)
    for position, of_size, refusal in (
        (size + 1, None, InvalidParameterError),
        (0, None, InvalidParameterError),
        (1, size + 1, NotFoundError),
    ):
        with pytest.raises(refusal):
            await proving.inclusion(position, of_size)
    for old, new, field in ((2, 1, "from"), (1, size + 1, "to"), (-1, None, "from")):
        with pytest.raises(InvalidParameterError) as refused:
            await proving.consistency(old, new)
        assert refused.value.field == field


@ON_SQLITE
@pytest.mark.parametrize("events", [5, MORE_THAN_TWO_TILES])
async def test_a_leaf_that_was_changed_is_not_signed_over(
    chat: Chat, caplog: pytest.LogCaptureFixture, events: int
) -> None:
    await record(chat, events)
    signed = await sign(chat)
    await chat.application.notarizing.keep_tiles()
    leaf = await leaf_at(chat, 2)
    await execute(chat, "UPDATE events SET leaf = ? WHERE position = 2", bytes(32))
    await record(chat)

    with caplog.at_level(logging.CRITICAL), pytest.raises(LedgerInconsistentError, match="not those that were signed"):
        await sign(chat)
    with pytest.raises(LedgerInconsistentError):
        await chat.application.proving.inclusion(2)
    standing = await chat.application.standing.look()
    assert "no checkpoint is signed" in caplog.text
    assert standing.refusal is not None
    assert standing.checkpoint == signed
    assert standing.unsigned == 1

    await execute(chat, "UPDATE events SET leaf = ? WHERE position = 2", leaf)
    assert (await sign(chat)).size == signed.size + 1
    assert (await chat.application.standing.look()).refusal is None


@pytest.mark.parametrize(
    ("tampering", "reason"),
    [
        (("DELETE FROM events WHERE position = 2",), "lost an event, or its leaf, between the positions"),
        (
            ("DELETE FROM events WHERE position > 4", "UPDATE head SET position = 4"),
            "ends at 4, and 10 events were signed",
        ),
        (("UPDATE events SET leaf = public WHERE position = 3",), "lost an event, or its leaf, between the positions"),
        (("UPDATE checkpoints SET note = replace(note, 'chatledger', 'chatladder')",), "is not the notary's"),
        (
            ("DELETE FROM checkpoints", "UPDATE events SET leaf = (SELECT leaf FROM events WHERE position = 1)"),
            "not those that were signed",
        ),
    ],
)
async def test_a_ledger_that_was_tampered_with_gets_no_signature(
    chat: Chat, tampering: Sequence[str], reason: str
) -> None:
    await record(chat, 5)
    assert (await sign(chat)).size == 10
    for statement in tampering:
        await execute(chat, statement)
    with pytest.raises(LedgerInconsistentError, match=reason):
        await sign(chat)


async def test_tiles_that_are_kept_twice_at_once_are_kept_once(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    await record(chat, MORE_THAN_TWO_TILES)
    notarizing = chat.application.notarizing
    keep, began = chat.running.ledger.keep, asyncio.Event()

    async def keep_unheard(*changes: Change) -> None:
        began.set()
        await keep(*changes)

    monkeypatch.setattr(chat.running.ledger, "keep", keep_unheard)
    broken_off = asyncio.create_task(notarizing.keep_tiles())
    await began.wait()
    broken_off.cancel()
    await notarizing.keep_tiles()
    assert len(await execute(chat, "SELECT * FROM tiles")) == 2


@ON_SQLITE
@pytest.mark.parametrize(
    "damage", ["DELETE FROM tiles", "DELETE FROM tiles WHERE number = 0", "UPDATE tiles SET root = ?"]
)
async def test_tiles_are_made_anew(chat: Chat, damage: str) -> None:
    await record(chat, MORE_THAN_TWO_TILES)
    await sign(chat)
    await chat.application.notarizing.keep_tiles()
    tiles = await execute(chat, "SELECT * FROM tiles ORDER BY level, number")
    assert len(tiles) == 2
    await execute(chat, damage, *([bytes(32)] * damage.count("?")))
    await record(chat)

    signed = await sign(chat)
    head, _ = opened(signed, *keys_of(chat))
    proof = await chat.application.proving.inclusion(3)
    verify_inclusion(2, head.size, await leaf_at(chat, 3), proof.hashes, head.root)
    await execute(chat, "DELETE FROM tiles")
    await chat.application.notarizing.keep_tiles()
    assert await execute(chat, "SELECT * FROM tiles ORDER BY level, number") == tiles


async def test_whoever_trusts_the_old_key_finds_the_new_one_in_what_it_has_signed(chat: Chat) -> None:
    await record(chat, 2)
    trusted = opened(await sign(chat), *keys_of(chat))[1][0]
    await record(chat)
    rotated = await chat.application.notarizing.rotate_key(a_context())
    await record(chat)
    latest = await sign(chat)

    _, introduced = await chat.events(NOTARY_ID)
    head, _ = opened(rotated, trusted)
    proof = await chat.application.proving.inclusion(introduced.position, head.size)
    verify_inclusion(proof.index, head.size, await leaf_at(chat, introduced.position), proof.hashes, head.root)
    fresh = VerifierKey.parse(introduced.body.verifier_key)

    assert fresh != trusted
    assert opened(rotated, trusted, fresh)[1] == [trusted, fresh]
    assert opened(latest, trusted, fresh)[1] == [fresh], "the old key signs no more"
    assert keys_of(chat) == [trusted, fresh]


@ON_SQLITE
async def test_the_chain_of_keys_holds_where_a_crash_came_right_after_the_new_key(open_chat: OpenChat) -> None:
    async with open_chat() as chat:
        await sign(chat)
        chat.application.notarizing.keys.rotate()
        chat.application.notarizing.keys.rotate()
    async with open_chat() as chat:
        old, never, newest = keys_of(chat)
        assert opened(await sign(chat), old, never, newest)[1] == [old, newest]
        await record(chat)
        assert opened(await sign(chat), old, never, newest)[1] == [newest]


@ON_SQLITE
async def test_what_was_signed_right_before_a_crash_is_on_record_after_it(open_chat: OpenChat) -> None:
    async with open_chat() as chat:
        signed = await sign(chat)
        await execute(chat, "DELETE FROM checkpoints")
    async with open_chat() as chat:
        await record(chat)
        again = await sign(chat)
        assert (await chat.application.proving.checkpoint(signed.size)).note == signed.note
        assert (again.number, again.size) == (2, signed.size + 1)


async def test_another_incarnation_is_another_log_with_keys_of_its_own(open_chat: OpenChat) -> None:
    async with open_chat() as chat:
        await record(chat, 3)
        signed, (old,) = await sign(chat), keys_of(chat)
    other = await asyncio.to_thread(begin_incarnation, chat.settings)
    async with open_chat() as chat:
        with pytest.raises(NotFoundError):
            await chat.application.proving.checkpoint()
        restored, (new,) = await sign(chat), keys_of(chat)
        assert restored.origin == f"chatledger/{other}" == new.name != signed.origin
        assert restored.size == signed.size + 1, "its key is introduced anew"
        assert new.public != old.public
    assert await asyncio.to_thread(findings_of, chat) == []


def findings_of(chat: Chat) -> list[str]:
    """What verifying tells, with what the key store remembers."""
    known = remembered(chat.settings)
    report = verified(chat.settings.ledger_url, since=known.checkpoints, incarnation=known.incarnation)
    return [finding.text for finding in report.findings]


async def test_whoever_has_the_database_cannot_make_it_another_ledger(open_chat: OpenChat) -> None:
    async with open_chat() as chat:
        await record(chat, 5)
        assert (await sign(chat)).size == 10
        await execute(chat, "DELETE FROM checkpoints")
        await execute(chat, "DELETE FROM events WHERE position > 4")
        other = chat.application.new_id()
        stored = other if _is_postgres(chat) else other.bytes
        await execute(chat, "UPDATE head SET position = 4, incarnation = ?", stored)
    async with open_chat() as chat:
        with pytest.raises(LedgerInconsistentError, match=f"says that it is {other}, and the key store is that of"):
            await sign(chat)
        found = " ".join(await asyncio.to_thread(findings_of, chat))
        assert "another incarnation than" in found
        assert "of more events than the 4" in found


def _is_postgres(chat: Chat) -> bool:
    return chat.settings.database_url is not None


async def test_tiles_are_kept_and_a_checkpoint_is_signed_now_and_then_where_there_is_something_new(
    open_chat: OpenChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatledger.application.audit.notary.PACE", 0.01)
    async with open_chat(checkpoint_interval=0.05) as chat:
        await record(chat, 300)
        head = await until(partial(_signed_size, chat))
        await until(partial(execute, chat, "SELECT 1 FROM tiles"))
        ((count,),) = await execute(chat, "SELECT count(*) FROM checkpoints WHERE size = ?", head)
        assert count == 1
        await record(chat)

        async def is_signed() -> bool:
            return await _signed_size(chat) == head + 1

        await until(is_signed)


@ON_SQLITE
async def test_a_ledger_that_was_refused_is_looked_at_again_when_something_is_new(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    async def checkpoint(self: Notarizing, context: Context) -> SignedCheckpoint:
        looks.append(1)
        raise LedgerInconsistentError("it was tampered with")

    monkeypatch.setattr(Notarizing, "checkpoint", checkpoint)
    process = NotaryProcess(chat.application.notarizing, None, SystemClock(), chat.application.new_id, interval=1e-9)
    for _ in range(3):
        await process._look()
    assert len(looks) == 1
    await record(chat)
    await process._look()
    assert len(looks) == 2


async def _signed_size(chat: Chat) -> int | None:
    """Of a checkpoint of all that there is."""
    standing = await chat.application.standing.look()
    return standing.checkpoint.size if standing.checkpoint and not standing.unsigned else None


async def test_events_of_an_application_on_the_library_are_signed_too(open_chat: OpenChat) -> None:
    async with open_chat(checkpoint_interval=0.05) as chat:
        await until(partial(_signed_size, chat))
        env = {
            "PERSISTENCE_MODULE": "chatledger.adapters.persistence",
            "CHATLEDGER_DATABASE_URL": chat.settings.ledger_url,
            "CHATLEDGER_DURABILITY": "relaxed" if _is_postgres(chat) else "full",
        }

        def sail() -> int:
            ferry = Application[UUID](env=env)
            try:
                return ferry.save(Aggregate(), Aggregate())[-1].notification.id
            finally:
                ferry.close()

        before = await chat.running.store.head()
        position = await asyncio.to_thread(sail)
        assert position == before.position + 2

        async def is_signed() -> bool:
            return await _signed_size(chat) == position

        await until(is_signed)
        head, _ = opened(await sign(chat), *keys_of(chat))
        proof = await chat.application.proving.inclusion(position)
        verify_inclusion(position - 1, head.size, await leaf_at(chat, position), proof.hashes, head.root)


@ON_SQLITE
async def test_what_is_new_is_signed_at_the_end(open_chat: OpenChat) -> None:
    async with open_chat(checkpoint_interval=3_600) as chat:
        await record(chat)
        with pytest.raises(NotFoundError):
            await chat.application.proving.checkpoint()
    async with open_chat(checkpoint_interval=3_600) as chat:
        standing = await chat.application.standing.look()
        assert standing.checkpoint is not None
        assert standing.unsigned == 0


@ON_SQLITE
async def test_a_sink_that_was_away_gets_every_checkpoint_in_order(
    open_chat: OpenChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatledger.application.audit.delivering.FIRST_DELAY", 0.01)
    async with Receiver(reply=lambda _: Answer(503)) as receiver, open_chat(checkpoint_sink=receiver.url) as chat:
        signed = []
        for _ in range(3):
            await record(chat)
            signed.append(await sign(chat))
        await receiver.until(lambda there: len(there.hooks) > 1)
        sink = (await chat.application.standing.look()).sink
        assert (sink.waiting, sink.since, sink.trouble) == (3, signed[0].signed_at, "the URL answers with status 503")

        receiver.reply = lambda _: Answer()
        receiver.hooks.clear()
        await receiver.until(lambda there: len(there.hooks) >= 3)
        assert [hook.body for hook in receiver.hooks] == [each.note for each in signed]

        async def is_empty() -> bool:
            return (await chat.application.standing.look()).sink.waiting == 0

        await until(is_empty)
        assert (await chat.application.standing.look()).sink.trouble is None
