"""Where a stream ends when chatledger closes, and what is held for its followers."""

import asyncio
from contextlib import ExitStack, contextmanager
from uuid import UUID

import msgspec
import pytest
import sqlalchemy as sa

from chatledger.adapters.queue.in_process import InProcessLiveBus
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ledger.tail import ConversationTail, Tail
from chatledger.application.queries import listening
from chatledger.application.queries.following import Following
from chatledger.application.queries.following_conversations import MESSAGES_AT_ONCE
from chatledger.application.queries.pages import Pages
from chatledger.domain.events import (
    TERMINAL_EVENTS,
    AgentThoughtRecorded,
    AnswerChunkAppended,
    MessageErrored,
    MessageSaved,
)
from chatledger.domain.message import Message
from chatledger.domain.values import Usage
from tests.application.chat import DEADLINE, open_chat, text_of
from tests.support.databases import ON_SQLITE


async def test_what_is_committed_by_then_is_told_before_the_stream_is_closed(chat):
    following = chat.application.following

    def close_with_the_end(envelopes):
        if any(isinstance(envelope.body, TERMINAL_EVENTS) for envelope in envelopes):
            following.close()

    chat.running.writer.observe(close_with_the_end)
    seen = await chat.to_the_end(await chat.send("tokens=3 interval_ms=5"))
    assert (text_of(seen), type(seen[-1].body).__name__) == ("t0 t1 t2 ", "MessageCompleted")


async def test_what_another_node_has_committed_by_then_is_told_too(chat):
    sent = await chat.send("tokens=2 interval_ms=60000")
    batches, following = chat.batches(sent), chat.application.following
    await chat.first_text(batches)
    following._lookout.is_alone = False
    context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
    with untold(chat):
        await chat.running.ledger.decide(
            Message, sent.message_id, lambda staged: staged.aggregate.fail(1, "internal_server_error", ""), context
        )
    following.close()
    rest = [envelope async for batch in batches for envelope in batch]
    assert [type(envelope.body) for envelope in rest] == [MessageErrored]


async def test_a_stream_that_is_closed_has_no_end(chat):
    sent = await chat.send("tokens=2 interval_ms=60000")
    batches = chat.batches(sent)
    await chat.first_text(batches)
    chat.application.following.close()
    assert [batch async for batch in batches if batch] == []
    await chat.application.stopping.stop(chat.caller(), sent.task_id)


@pytest.mark.parametrize("field", ["thought", "tool_input", "observation"])
def test_what_agents_do_counts_as_what_is_held(field):
    message_id, tail = UUID(int=1), Tail()
    with tail.follow(message_id):
        for version in range(1, 9):
            step = AgentThoughtRecorded(attempt=1, thought_id=UUID(int=2), position=1, **{field: "x" * 100_000})
            tail.committed([Envelope(version, message_id, "message", version, message_id, 1, 1, None, step)])
        assert tail.after(message_id, 0) is None
        assert [envelope.version for envelope in tail.after(message_id, 6) or ()] == [7, 8]


async def conversation_of(chat, count: int) -> UUID:
    """A conversation of so many answered messages."""
    sent = await chat.send("tokens=1")
    await chat.to_the_end(sent)
    (created,) = [envelope for envelope in await chat.events(sent.message_id) if envelope.version == 1]
    context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
    for _ in range(count - 1):
        again = msgspec.structs.replace(created.body, task_id=chat.application.new_id())
        message = Message.create(chat.application.new_id(), again)
        message.start_attempt("w")
        message.append_chunk(1, "x")
        message.complete(1, Usage(), "stop", "")
        await chat.running.ledger.hand_in(Staged(message, created.key_id), context=context)
    return sent.conversation_id


@ON_SQLITE
async def test_a_page_of_a_conversation_costs_the_same_however_long_it_is(chat, monkeypatch):
    statements, engine, ledger = [], chat.running.reader._engine, chat.running.ledger

    def note(connection, cursor, statement, parameters, context, many):
        statements.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)

    async def price_of(conversation_id):
        with chat.application.following.follow_conversation(conversation_id) as follower:
            statements.clear()
            batches = follower.batches()
            first = await anext(batches)
            price = len(statements), len({envelope.stream_id for envelope in first})
            await batches.aclose()
        return price

    prices = []
    for count in (2 * MESSAGES_AT_ONCE, 6 * MESSAGES_AT_ONCE):
        conversation_id = await conversation_of(chat, count)
        # Others may read meanwhile: the sweeper, say.
        prices.append(min([await price_of(conversation_id) for _ in range(3)]))
    assert prices[0] == prices[1]
    assert prices[0][1] == MESSAGES_AT_ONCE
    # Where somebody goes on in the middle, what is under way there is found by an index.
    with chat.application.following.follow_conversation(conversation_id) as follower:
        await anext(follower.batches(ledger.head_position - 40))
    plans = [
        row[-1]
        for statement, parameters in list(statements)
        if " messages" in statement
        for row in await chat.running.reader.query(
            lambda c, of=(statement, parameters): c.exec_driver_sql(f"EXPLAIN QUERY PLAN {of[0]}", of[1]).all()
        )
    ]
    assert any("messages_by_end" in plan for plan in plans), plans
    assert not [plan for plan in plans if plan.startswith("SCAN messages")]


@contextmanager
def untold(chat):
    """What is committed inside is as if another process had committed it: nobody here hears of it."""
    writer = chat.running.writer
    observers, writer._observers = writer._observers, []
    try:
        yield
    finally:
        writer._observers = observers


async def test_what_nobody_here_is_told_of_is_found_after_a_second(chat):
    sent = await chat.send("tokens=2 interval_ms=3600000")
    await chat.first_text(chat.batches(sent))
    following = chat.application.following
    context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
    with (
        following.follow(sent.message_id) as one,
        following.follow_conversation(sent.conversation_id) as other,
    ):
        followed = [one.batches(), other.batches()]
        for batches in followed:
            assert await anext(batches)
            assert not await anext(batches)
        with untold(chat):
            await chat.running.ledger.decide(
                Message, sent.message_id, lambda staged: staged.aggregate.append_chunk(1, "untold"), context
            )
        for batches in followed:
            async with asyncio.timeout(DEADLINE):
                while not (batch := await anext(batches)):
                    continue
            assert [envelope.body.text for envelope in batch] == ["untold"]
            await batches.aclose()


async def test_what_nobody_here_is_told_of_is_shown_before_what_comes_after_it(chat):
    """The end among them: a rating that comes later leads to it."""
    sent = await chat.send("tokens=2 interval_ms=3600000")
    await chat.first_text(chat.batches(sent))
    ledger, context = chat.running.ledger, Context(actor=SYSTEM, correlation_id=chat.application.new_id())
    with chat.application.following.follow(sent.message_id) as follower:
        batches = follower.batches()
        await anext(batches)
        await ledger.decide(Message, sent.message_id, lambda staged: staged.aggregate.save(), context)
        assert [type(envelope.body) for envelope in await anext(batches)] == [MessageSaved]
        with untold(chat):
            await ledger.decide(
                Message, sent.message_id, lambda staged: staged.aggregate.fail(1, "internal_server_error", ""), context
            )
        await ledger.decide(Message, sent.message_id, lambda staged: staged.aggregate.unsave(), context)
        async with asyncio.timeout(DEADLINE):
            rest = [envelope async for batch in batches for envelope in batch]
    assert [type(envelope.body) for envelope in rest] == [MessageErrored]


def test_a_tail_holds_nothing_beside_a_hole():
    message_id, tail = UUID(int=1), Tail()
    with tail.follow(message_id):
        for version in (4, 5, 9):
            chunk = AnswerChunkAppended(attempt=1, text="x")
            tail.committed([Envelope(version, message_id, "message", version, message_id, 1, 1, None, chunk)])
        assert (tail.after(message_id, 5), tail.after(message_id, 7), tail.newest(message_id)) == (None, None, 9)
        assert [envelope.version for envelope in tail.after(message_id, 8) or ()] == [9]


async def test_a_conversation_that_others_delete_ends_its_stream(chat):
    conversation_id = (await chat.answered("tokens=1")).conversation_id
    with chat.application.following.follow_conversation(conversation_id) as follower:
        batches = follower.batches()
        assert await anext(batches)
        assert not await anext(batches)
        with untold(chat):
            await chat.application.deleting.delete(chat.caller(), conversation_id)
        async with asyncio.timeout(DEADLINE):
            assert not [batch async for batch in batches if batch]
        assert follower.is_over


async def test_followers_that_wait_share_one_look(tmp_path, monkeypatch):
    """However many they are: nobody reads a message or a conversation of which nothing can have been missed."""
    count, rounds, statements = 10, 3, []
    monkeypatch.setattr(listening, "SILENCE", 0.3)
    async with open_chat(tmp_path, with_worker=False, search=False) as chat, asyncio.timeout(DEADLINE):
        sent, following = await chat.send(), chat.application.following
        with ExitStack() as stack:
            stack.callback(sent.follower.close)
            followers = [stack.enter_context(following.follow(sent.message_id)) for _ in range(count)]
            followers += [
                stack.enter_context(following.follow_conversation(sent.conversation_id)) for _ in range(count)
            ]
            streams = [follower.batches() for follower in followers]
            # The first look may find what was there before this process was told of anything.
            for _ in range(3):
                await asyncio.gather(*(anext(stream) for stream in streams))

            def note(connection, cursor, statement, parameters, context, many):
                statements.append(statement)

            sa.event.listen(chat.running.reader._engine, "before_cursor_execute", note)
            for _ in range(rounds):
                assert not any(await asyncio.gather(*(anext(stream) for stream in streams)))
            for stream in streams:
                await stream.aclose()
    assert 0 < len(statements) < count
    assert not [statement for statement in statements if "conversations" in statement or "events" in statement]


async def test_who_is_told_of_the_same_by_others_shares_one_reading(tmp_path, monkeypatch):
    count, bus, read, readings = 10, InProcessLiveBus(), Ledger.read_many, []

    async def noted(*args):
        readings.append(args)
        return await read(*args)

    async with open_chat(tmp_path, with_worker=False) as chat, asyncio.timeout(DEADLINE):
        running, context = chat.running, Context(actor=SYSTEM, correlation_id=chat.application.new_id())
        sent = await chat.send()
        sent.follower.close()
        lookout = listening.Lookout(running.store.head, is_alone=False)
        elsewhere = Following(running.ledger, chat.application.views, Tail(), ConversationTail(), bus, lookout)
        with ExitStack() as stack:
            streams = [stack.enter_context(elsewhere.follow(sent.message_id)).batches() for _ in range(count)]
            await asyncio.gather(*map(anext, streams))
            waiting = asyncio.gather(*map(anext, streams))
            await asyncio.sleep(0)
            await running.ledger.decide(Message, sent.message_id, lambda staged: staged.aggregate.save(), context)
            monkeypatch.setattr(Ledger, "read_many", noted)
            bus.rouse()
            shown = await waiting
            for stream in streams:
                await stream.aclose()
    assert [[type(envelope.body) for envelope in batch] for batch in shown] == [[MessageSaved]] * count
    assert len(readings) == 1


async def test_a_reading_that_has_begun_is_not_what_somebody_gets_who_comes_later(chat, monkeypatch):
    sent = await chat.send("tokens=2 interval_ms=3600000")
    await chat.first_text(chat.batches(sent))
    ledger, context = chat.running.ledger, Context(actor=SYSTEM, correlation_id=chat.application.new_id())
    read, has_read, may_end = ledger.read_many, asyncio.Event(), asyncio.Event()

    async def slow(*args):
        found = await read(*args)
        has_read.set()
        await may_end.wait()
        return found

    pages = Pages(ledger, are_gathered=True)
    monkeypatch.setattr(ledger, "read_many", slow)
    first, gone = [asyncio.create_task(pages.after(sent.message_id, 1)) for _ in range(2)]
    await has_read.wait()
    monkeypatch.setattr(ledger, "read_many", read)
    await ledger.decide(Message, sent.message_id, lambda staged: staged.aggregate.save(), context)
    async with asyncio.timeout(DEADLINE):
        later = await pages.after(sent.message_id, 1)
    gone.cancel()
    may_end.set()
    assert [type(envelope.body) for envelope in later[len(await first) :]] == [MessageSaved]
