"""Stopping at every offset of an answer, as a host does it."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from chatledger import AnswerChunkAppended, Chatledger, MessageStopped
from tests.embedding.hosting import DEADLINE, hosted, new_app
from tests.support.paced import WORDS, Paced, words
from tests.support.server import until

OFFSETS = range(WORDS + 1)


class Listener:
    """What somebody who follows a message has been told."""

    def __init__(self) -> None:
        self.text = ""
        self.end: Any = None

    async def follow(self, ledger: Chatledger, message_id: UUID) -> None:
        async with asyncio.timeout(DEADLINE):
            async for event in ledger.messages.follow(message_id):
                if isinstance(event.body, AnswerChunkAppended):
                    self.text += event.body.text
                self.end = event.body


async def stop_at(ledger: Chatledger, app: UUID, generator: Paced, offset: int) -> None:
    query, told = f"stop at {offset}", Listener()
    sent = await ledger.messages.send(app, query, user="ada")
    following = asyncio.create_task(told.follow(ledger, sent.message_id))
    generator.let(query, offset)

    async def is_there() -> bool:
        return told.text == words(offset) and generator.asked[query] == offset + 1

    await until(is_there)
    await ledger.tasks.stop(app, sent.task_id, user="ada")
    asked = generator.asked[query]
    generator.let(query, WORDS)
    await following

    message = (await ledger.messages.get(sent.message_id)).message
    assert told.text == message.answer == words(offset)
    assert (message.state, message.stopped_by) == ("stopped", "user")
    assert isinstance(told.end, MessageStopped)
    assert told.end.offset == len(words(offset))
    assert generator.asked[query] == asked == offset + 1


async def test_what_is_delivered_is_kept_and_nothing_more_is_asked_for_at_every_offset(tmp_path):
    generator = Paced()
    async with hosted(tmp_path, generators=[generator]) as ledger:
        app = await new_app(ledger, generator="paced")
        await asyncio.gather(*(stop_at(ledger, app, generator, offset) for offset in OFFSETS))


@pytest.mark.parametrize("flush_interval_ms", [1, 50])
async def test_the_same_of_answers_that_flow(tmp_path, flush_interval_ms):
    """Words come and are committed while the request to stop is on its way; nothing after it has been answered."""

    async def stop_in_the_flow(offset: int) -> bool:
        query, told = f"stop near {offset}", Listener()
        sent = await ledger.messages.send(app, query, user="ada")
        following = asyncio.create_task(told.follow(ledger, sent.message_id))

        async def flow() -> None:
            for _ in range(WORDS + 1):
                generator.let(query, 1)
                await asyncio.sleep(0.002)

        flowing = asyncio.create_task(flow())

        async def is_there() -> bool:
            return generator.asked[query] > offset

        await until(is_there)
        await ledger.tasks.stop(app, sent.task_id, user="ada")
        asked = generator.asked[query]
        await asyncio.gather(following, flowing)
        message = (await ledger.messages.get(sent.message_id)).message
        assert told.text == message.answer
        assert words(WORDS).startswith(told.text)
        assert generator.asked[query] == asked
        return message.state == "stopped"

    generator = Paced()
    async with hosted(tmp_path, generators=[generator], flush_interval_ms=flush_interval_ms) as ledger:
        app = await new_app(ledger, generator="paced")
        stopped = await asyncio.gather(*(stop_in_the_flow(offset) for offset in range(0, WORDS, 5)))
        assert any(stopped)
