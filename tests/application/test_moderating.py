"""Moderation where a worker dies, is told to go, or loses a race: whoever takes over judges again."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from chatledger.application.commands.new_message import NewMessage, Sent
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ports.generator import (
    GeneratorError,
    Part,
    StepBegan,
    StepEnded,
    Text,
    ToolCall,
    ToolsReturned,
)
from chatledger.domain.configuration import AppConfiguration, ModerationOfStage, Switch, WordAvoidance
from chatledger.domain.events import AnswerReplaced
from chatledger.domain.inputs import InputVariable
from chatledger.domain.message import Message
from tests.application.chat import DEADLINE, Chat, text_of, until
from tests.application.chat import open_chat as open_chat_in
from tests.application.test_agents import Acting
from tests.application.test_contention import one_group, says_when_told
from tests.support.databases import ON_SQLITE
from tests.support.fake_openai import FakeOpenAI, Received, answer, moderation

PRESET = "Let us talk about something else."
SCRIPT = {"tokens": 40, "interval_ms": 5, "vary_by_attempt": True}
OVERRIDDEN = ModerationOfStage(enabled=True, action="overridden")
ON = ModerationOfStage(enabled=True, preset_response=PRESET)


async def moderate(
    chat: Chat,
    *,
    generator: str = "scripted",
    settings: Mapping[str, Any] = SCRIPT,
    user_input_form: tuple[InputVariable, ...] = (),
    suggests: bool = False,
    **avoidance: Any,
) -> None:
    """Have the chat's app judge so."""
    configuration = AppConfiguration(
        generator=generator,
        settings=settings,
        user_input_form=user_input_form,
        suggested_questions_after_answer=Switch(enabled=suggests),
        sensitive_word_avoidance=WordAvoidance(enabled=True, **avoidance),
    )
    await configure(chat, configuration)


async def configure(chat: Chat, configuration: AppConfiguration) -> None:
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


@ON_SQLITE
@pytest.mark.parametrize("is_stopped", [False, True])
async def test_of_what_may_not_be_said_nothing_is_told_that_is_still_in_hand(open_chat, is_stopped):
    """That is what waits for a commit, and text that was handed in and has lost to a stop."""
    async with open_chat(flush_interval_ms=0) as chat:
        await moderate(chat, outputs_config=ON, keywords="secret")
        sent, say = await says_when_told(chat, "a ", "se", "cret")
        attempt, stopping = chat.running.worker._running[sent.message_id], None
        async with one_group(chat) as handed_in:
            if is_stopped:
                stopping = asyncio.create_task(chat.application.stopping.stop(chat.caller(), sent.task_id))
                await handed_in(1)
            say()
            await handed_in(2 if is_stopped else 1)
            say()
            say()
            await until(lambda: asyncio.sleep(0, attempt._settled))
        if stopping is not None:
            await stopping
        seen = await chat.to_the_end(sent)
        view = await chat.view(sent.message_id)
        told = "" if is_stopped else "a "
        assert (view.stopped_by, view.answer, text_of(seen)) == ("moderation", PRESET, told)


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
        async with open_chat_in(tmp_path, **following) as chat:
            await moderate(chat, generator="halting", settings={}, type="openai_moderation", outputs_config=ON)
            sent = await chat.send()
            await chat.first_text(chat.batches(sent))
        async with open_chat_in(tmp_path, with_worker=False, **following) as chat:
            view = await chat.view(sent.message_id)
            assert (view.answer, view.stopped_by) == (PRESET, "moderation")


class Mute:
    """Says nothing, and fails when it is told to."""

    name = "mute"
    repeatable = True

    def __init__(self) -> None:
        self.attempts = asyncio.Queue[int]()
        self.fails = asyncio.Event()

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        pass

    def settings_for(self, query: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return settings

    async def close(self) -> None:
        pass

    async def generate(self, request: Any) -> AsyncIterator[Part]:
        self.attempts.put_nowait(request.attempt)
        await self.fails.wait()
        raise GeneratorError("invalid", "no")
        yield Text("never")


async def has_ended(chat: Chat, sent: Any) -> bool:
    return (await chat.view(sent.message_id)).ended_at is not None


@pytest.mark.parametrize("how", ["stop", "failure", "handed over", "no more take-overs", "out of time"])
async def test_what_a_dead_worker_left_is_judged_where_it_stays(quick_leases, how):
    mute = Mute()
    async with quick_leases(with_worker=False, generators=[mute]) as chat:
        await moderate(chat, generator="mute", settings={}, outputs_config=ON, keywords="secret")
        sent = await left_by_a_dead_worker(chat, "a secret ")
    limits = {"no more take-overs": {"take_overs": 0}, "out of time": {"generation_timeout": 0.001}}
    async with quick_leases(generators=[mute], **limits.get(how, {})) as chat:
        if how in {"stop", "failure", "handed over"}:
            assert await asyncio.wait_for(mute.attempts.get(), DEADLINE) == 2
        if how == "stop":
            await chat.application.stopping.stop(chat.caller(), sent.task_id)
        elif how == "failure":
            mute.fails.set()
        if how != "handed over":
            await until(lambda: has_ended(chat, sent))
    async with quick_leases(with_worker=False) as chat:
        view = await chat.view(sent.message_id)
        assert (view.state, view.stopped_by, view.answer) == ("stopped", "moderation", PRESET)


async def test_a_stop_leaves_text_that_nobody_judged_to_a_worker(quick_leases):
    async with quick_leases(with_worker=False) as chat:
        await moderate(chat, outputs_config=ON, keywords="secret")
        told, fine = [await left_by_a_dead_worker(chat, text) for text in ("a secret ", "so ")]
        for sent in (told, fine):
            await chat.application.stopping.stop(chat.caller(), sent.task_id)
        assert (await chat.view(told.message_id)).state == "stopping"
    async with quick_leases() as chat:
        for sent in (told, fine):
            await until(lambda sent=sent: has_ended(chat, sent))
        views = [await chat.view(sent.message_id) for sent in (told, fine)]
        assert [(view.stopped_by, view.answer) for view in views] == [("moderation", PRESET), ("user", "so ")]


# What agents do


SECRET = {"code": "a secret"}


def acting(thought: str = "", arguments: Any = None, result: Any = None) -> Acting:
    call = ToolCall(tool="launch", arguments=arguments or {})
    return Acting(StepBegan(), StepEnded(thought, (call,)), ToolsReturned((result,)), StepBegan(), Text("Done."))


@pytest.mark.parametrize("said", [{"thought": "my secret"}, {"arguments": SECRET}, {"result": SECRET}])
async def test_what_an_agent_thinks_asks_and_hears_is_judged(open_chat, said):
    generator = acting(**said)
    async with open_chat(generators=[generator]) as chat:
        chat.app = await chat.new_app("agent-chat", generator.name)
        await moderate(chat, generator=generator.name, settings={}, outputs_config=ON, keywords="secret")
        sent = await chat.send()
        seen = await chat.to_the_end(sent)
        view = await chat.view(sent.message_id)
    assert (view.answer, view.stopped_by) == (PRESET, "moderation")
    assert "secret" not in str([envelope.body for envelope in seen])


async def test_what_an_agent_may_not_tell_is_left_out_where_it_goes_on(open_chat):
    generator = acting("my secret", SECRET, SECRET)
    async with open_chat(generators=[generator]) as chat:
        chat.app = await chat.new_app("agent-chat", generator.name)
        await moderate(chat, generator=generator.name, settings={}, outputs_config=OVERRIDDEN, keywords="secret")
        sent = await chat.send()
        seen = await chat.to_the_end(sent)
        view = await chat.view(sent.message_id)
    step = view.thoughts[0]
    assert (view.answer, step.thought, step.tool) == ("Done.", "my ******", "launch")
    assert (step.tool_input, step.observation) == ("", "")
    assert "secret" not in str([envelope.body for envelope in seen])
    assert [type(envelope.body).__name__ for envelope in seen].count("ModerationHit") == 1


# What models are asked


MODEL = {"generator": "openai_compatible", "settings": {"model": "m"}}


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        fake.always("/chat/completions", lambda _: answer('["fine"]'))
        yield fake


@pytest.fixture
async def asking(tmp_path: Path, provider: FakeOpenAI) -> AsyncIterator[Chat]:
    async with open_chat_in(tmp_path, openai_base_url=provider.base_url) as chat:
        yield chat


async def ask(chat: Chat, query: str, conversation: UUID | None = None, *, named: bool = False, **inputs: Any) -> Sent:
    new = NewMessage(query=query, inputs=inputs, conversation_id=conversation, automatic_name=named)
    sent = await chat.application.sending.send(chat.caller(), new)
    await chat.to_the_end(sent)
    return sent


def texts_of(request: Received) -> str:
    return json.dumps([message["content"] for message in request.body["messages"]])


async def test_a_prompt_has_earlier_questions_as_they_were_asked(asking, provider):
    await moderate(asking, **MODEL, inputs_config=OVERRIDDEN, keywords="secret")
    first = await ask(asking, "my secret")
    await configure(asking, AppConfiguration(**MODEL))
    await ask(asking, "my secret and yours", first.conversation_id)
    assert [message["content"] for message in provider.requests[1].body["messages"]] == [
        "my ******",
        '["fine"]',
        "my secret and yours",
    ]


@pytest.mark.parametrize("by_hand", [False, True])
async def test_a_name_is_found_for_what_may_be_asked(asking, provider, by_hand):
    await moderate(asking, **MODEL, inputs_config=OVERRIDDEN, keywords="secret")
    sent = await ask(asking, "my secret", named=not by_hand)
    if by_hand:
        await asking.application.renaming.name_automatically(asking.caller(), sent.conversation_id)
    title = await provider.asked(2)
    assert "secret" not in "".join(map(texts_of, provider.requests))
    assert "my ******" in texts_of(title)


async def test_for_a_question_that_may_not_be_asked_no_model_is_asked_for_anything(asking, provider):
    await moderate(
        asking,
        **MODEL,
        inputs_config=ON,
        keywords="secret",
        suggests=True,
    )
    sent = await ask(asking, "my secret")
    named = await asking.application.renaming.name_automatically(asking.caller(), sent.conversation_id)
    assert named.name == "my secret"
    assert await asking.application.suggesting.suggest(asking.caller(), sent.message_id) == ()
    assert provider.requests == []


async def test_suggestions_are_asked_for_by_what_was_asked(asking, provider):
    await moderate(
        asking,
        **MODEL,
        inputs_config=OVERRIDDEN,
        keywords="secret",
        suggests=True,
    )
    sent = await ask(asking, "my secret")
    assert await asking.application.suggesting.suggest(asking.caller(), sent.message_id) == ("fine",)
    assert "secret" not in texts_of(provider.requests[1])


@pytest.mark.parametrize(("stage", "end"), [(ON, PRESET), (OVERRIDDEN, '["fine"]')])
async def test_what_stands_in_an_object_is_judged_as_well(asking, provider, stage, end):
    model = {"generator": "openai_compatible", "settings": {"model": "m", "system_prompt": "Of {{facts}}."}}
    await moderate(
        asking,
        **model,
        inputs_config=stage,
        keywords="secret",
        user_input_form=(InputVariable(variable="facts", type="json_object"),),
    )
    sent = await ask(asking, "hello", facts={"known": ["a secret"]})
    assert (await asking.view(sent.message_id)).answer == end
    assert "secret" not in "".join(map(texts_of, provider.requests))
