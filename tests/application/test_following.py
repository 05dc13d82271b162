"""Where a stream ends when chatledger closes, and what is held for its followers."""

import asyncio
from uuid import UUID

import msgspec
import pytest
import sqlalchemy as sa

from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Staged
from chatledger.application.ledger.tail import Tail
from chatledger.application.queries.following_conversations import MESSAGES_AT_ONCE
from chatledger.domain.events import TERMINAL_EVENTS, AgentThoughtRecorded
from chatledger.domain.message import Message
from chatledger.domain.values import Usage
from tests.application.chat import DEADLINE, text_of
from tests.support.databases import ON_SQLITE


async def test_what_is_committed_by_then_is_told_before_the_stream_is_closed(chat):
    following = chat.application.following

    def close_with_the_end(envelopes):
        if any(isinstance(envelope.body, TERMINAL_EVENTS) for envelope in envelopes):
            following.close()

    chat.running.writer.observe(close_with_the_end)
    seen = await chat.to_the_end(await chat.send("tokens=3 interval_ms=5"))
    assert (text_of(seen), type(seen[-1].body).__name__) == ("t0 t1 t2 ", "MessageCompleted")


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
    prices = []
    for count in (2 * MESSAGES_AT_ONCE, 6 * MESSAGES_AT_ONCE):
        conversation_id = await conversation_of(chat, count)
        with chat.application.following.follow_conversation(conversation_id) as follower:
            statements.clear()
            batches = follower.batches()
            first = await anext(batches)
            prices.append((len(statements), len({envelope.stream_id for envelope in first})))
            await batches.aclose()
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


async def test_what_nobody_here_is_told_of_is_found_after_a_second(chat):
    """As if another process had committed it: no notice, and the tails know nothing of it."""
    sent = await chat.send("tokens=2 interval_ms=3600000")
    await chat.first_text(chat.batches(sent))
    following, writer = chat.application.following, chat.running.writer
    context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
    with (
        following.follow(sent.message_id) as one,
        following.follow_conversation(sent.conversation_id) as other,
    ):
        followed = [one.batches(), other.batches()]
        for batches in followed:
            assert await anext(batches)
            assert not await anext(batches)
        observers, writer._observers = writer._observers, []
        await chat.running.ledger.decide(
            Message, sent.message_id, lambda staged: staged.aggregate.append_chunk(1, "untold"), context
        )
        writer._observers = observers
        for batches in followed:
            async with asyncio.timeout(DEADLINE):
                while not (batch := await anext(batches)):
                    continue
            assert [envelope.body.text for envelope in batch] == ["untold"]
            await batches.aclose()
