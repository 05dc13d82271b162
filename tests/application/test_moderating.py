"""Moderation where a worker dies, is told to go, or loses a race: whoever takes over judges again."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from chatledger.application.context import SYSTEM, Context
from chatledger.application.ports.generator import Part, Text
from chatledger.domain.configuration import AppConfiguration, ModerationOfStage, WordAvoidance
from chatledger.domain.events import AnswerReplaced
from chatledger.domain.message import Message
from tests.application.chat import Chat, open_chat
from tests.support.fake_openai import FakeOpenAI, moderation

PRESET = "Let us talk about something else."
SCRIPT = {"tokens": 40, "interval_ms": 5, "vary_by_attempt": True}
ON = ModerationOfStage(enabled=True, preset_response=PRESET)


async def moderate(
    chat: Chat, *, generator: str = "scripted", settings: Mapping[str, Any] = SCRIPT, **avoidance: Any
) -> None:
    """Have the chat's app judge so."""
    configuration = AppConfiguration(
        generator=generator,
        settings=settings,
        sensitive_word_avoidance=WordAvoidance(enabled=True, **avoidance),
    )
    context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
    await chat.application.apps.configure(chat.app.app_id, configuration, context)
    chat.app = await chat.application.directory.app(chat.app.app_id)


async def left_by_a_dead_worker(chat: Chat, text: str) -> object:
    sent = await chat.send()
    context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())

    def half_an_answer(staged):
        attempt = staged.aggregate.start_attempt("dead")
        staged.aggregate.append_chunk(attempt, text)

    await chat.running.ledger.decide(Message, sent.message_id, half_an_answer, context)
    sent.follower.close()
    return sent


@pytest.mark.parametrize(
    ("avoidance", "end"),
    [
        ({"inputs_config": ON, "keywords": "hello"}, "MessageCompleted"),
        ({"outputs_config": ON, "keywords": "a2t9 "}, "MessageStopped"),
    ],
    ids=["the question", "the answer"],
)
async def test_the_next_attempt_judges_again(quick_leases, avoidance, end):
    async with quick_leases(with_worker=False) as chat:
        await moderate(chat, **avoidance)
        sent = await left_by_a_dead_worker(chat, "a1t0 a1t1 ")
    async with quick_leases() as chat:
        with chat.application.following.follow(sent.message_id) as follower:
            seen = [envelope async for batch in follower.batches() for envelope in batch]
        view = await chat.view(sent.message_id)
        recorded = [type(envelope.body).__name__ for envelope in seen]
    assert (view.answer, view.attempt) == (PRESET, 2)
    assert recorded[-1] == end
    assert recorded.count("ModerationHit") == 1
    (hit,) = [envelope.body for envelope in seen if type(envelope.body).__name__ == "ModerationHit"]
    assert (hit.attempt, hit.action) == (2, "direct_output")


async def test_a_worker_that_was_fenced_out_replaces_nothing(quick_leases):
    async with quick_leases() as chat:
        await moderate(chat, outputs_config=ON, keywords="a1t30 ")
        sent = await chat.send()
        batches = chat.batches(sent)
        seen = await chat.first_text(batches)
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
        await chat.running.ledger.decide(
            Message, sent.message_id, lambda staged: staged.aggregate.start_attempt("another"), context
        )
        async for batch in batches:
            seen += batch
        assert not any(isinstance(envelope.body, AnswerReplaced) for envelope in seen)
        assert (await chat.view(sent.message_id)).state == "completed"


class Halting:
    """Says so much, then nothing more; it cannot be asked again."""

    name = "halting"
    repeatable = False

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        pass

    def settings_for(self, query: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return settings

    async def close(self) -> None:
        pass

    async def generate(self, request: Any) -> AsyncIterator[Part]:
        yield Text("what may not be said")
        await asyncio.Event().wait()


async def test_what_was_said_is_judged_where_nobody_goes_on_with_it(tmp_path):
    async with FakeOpenAI() as provider:
        provider.always("/moderations", lambda _: moderation(True))
        following = {"generators": [Halting()], "openai_base_url": provider.base_url}
        async with open_chat(tmp_path, **following) as chat:
            await moderate(chat, generator="halting", settings={}, type="openai_moderation", outputs_config=ON)
            sent = await chat.send()
            await chat.first_text(chat.batches(sent))
        async with open_chat(tmp_path, with_worker=False, **following) as chat:
            view = await chat.view(sent.message_id)
            assert (view.answer, view.stopped_by) == (PRESET, "moderation")
