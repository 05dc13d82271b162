"""Where a stream ends when chatledger closes, and what is held for its followers."""

from uuid import UUID

import pytest

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.tail import Tail
from chatledger.domain.events import TERMINAL_EVENTS, AgentThoughtRecorded
from tests.application.chat import text_of


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
