"""What a generator cannot do to its message: keep it from ending, or make it endless."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import pytest

from chatledger.application.ports.generator import Finish, GenerationRequest, Part, Text, TokenCount
from chatledger.domain.events import MessageCompleted
from tests.application.chat import DEADLINE, Chat, until
from tests.support.recalling import RecallingGenerator


async def has_ended(chat: Chat, sent: Any) -> bool:
    return (await chat.view(sent.message_id)).ended_at is not None


class Stubborn(RecallingGenerator):
    """Begins to answer, and never comes to the end of its cleanup unless it is cancelled there."""

    def __init__(self, text: str = "so ") -> None:
        super().__init__()
        self.text = text
        self.was_cancelled = asyncio.Event()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Part, None]:
        try:
            yield Text(self.text)
            await asyncio.Event().wait()
        finally:
            try:
                await asyncio.Event().wait()
            finally:
                self.was_cancelled.set()


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ("stop", ("stopped", "user", "so ")),
        ("timeout", ("stopped", "timeout", "so ")),
        ("length", ("completed", None, "so")),
        ("failure", ("errored", None, "")),
        ("leaving", ("retrying", None, "")),
    ],
)
async def test_a_cleanup_that_hangs_keeps_no_message_from_its_end(open_chat, how, end):
    stubborn = Stubborn("\ud800" if how == "failure" else "so ")
    bounds = {"timeout": {"generation_timeout": 1}, "length": {"max_answer_characters": 2}}
    async with open_chat(generators=[stubborn], **bounds.get(how, {})) as chat:
        chat.app = await chat.new_app(generator="recalling")
        sent = await chat.send()
        batches = chat.batches(sent)
        if how != "failure":
            await chat.first_text(batches)
        if how == "stop":
            await chat.application.stopping.stop(chat.caller(), sent.task_id)
        if how != "leaving":
            await until(partial(has_ended, chat, sent))
    await asyncio.wait_for(stubborn.was_cancelled.wait(), DEADLINE)
    async with open_chat(generators=[stubborn], with_worker=False) as later:
        later.app = chat.app
        view = await later.view(sent.message_id)
        assert (view.state, view.stopped_by, view.answer) == end


class Endless(RecallingGenerator):
    """Says the same for ever.

    Attributes:
        closed: set when it was told to end.
    """

    def __init__(self, *parts: Part) -> None:
        super().__init__()
        self.parts = parts
        self.closed = asyncio.Event()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Part, None]:
        try:
            while True:
                for part in self.parts:
                    yield part
        finally:
            self.closed.set()


@pytest.mark.parametrize("text", ["abc", "é" * 5_000, "x" * 100_000])
async def test_an_answer_has_an_end(open_chat, text):
    endless = Endless(Text(text))
    async with open_chat(generators=[endless], max_answer_characters=10_000) as chat:
        chat.app = await chat.new_app(generator="recalling")
        seen = await chat.to_the_end(await chat.send())
        completed = seen[-1].body
        assert isinstance(completed, MessageCompleted)
        assert (completed.finish_reason, endless.closed.is_set()) == ("length", True)
        assert (await chat.view(seen[-1].stream_id)).answer == (text * 10_000)[:10_000]


@pytest.mark.parametrize("part", [Text(""), Finish("stop"), TokenCount(1, 1)])
async def test_a_flood_without_text_lets_others_have_their_turn(open_chat, part):
    async with open_chat(generators=[Endless(part)]) as chat:
        app = await chat.new_app(generator="recalling")
        chat.app, other = app, chat.app
        sent = await chat.send()
        chat.app = other
        assert (await chat.answered("tokens=3")).state == "completed"
        chat.app = app
        await chat.application.stopping.stop(chat.caller(), sent.task_id)
        await until(partial(has_ended, chat, sent))
        sent.follower.close()
