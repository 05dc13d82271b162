"""Questions to ask next: asked of a model once, kept on the ledger, and never an error."""

import asyncio
from typing import Any
from uuid import UUID

import msgspec
import pytest

from chatledger.adapters.generator.scripted import ScriptedGenerator
from chatledger.application.caller import Caller
from chatledger.application.commands.new_message import NewMessage
from chatledger.application.errors import ClosedError, FeatureDisabledError, NotFoundError, WrongModeError
from chatledger.application.ports.generator import GeneratorError
from chatledger.domain.conversation import Conversation
from chatledger.domain.events import SuggestedQuestionsProposed
from tests.application.chat import Chat

QUESTIONS = '["Why?", "How?", "When?"]'
SCRIPT = f"suggestions='{QUESTIONS}' tokens=2"


@pytest.fixture
async def suggesting(chat: Chat) -> Chat:
    """A chat whose app suggests questions."""
    return switched_on(chat)


def switched_on(chat: Chat) -> Chat:
    configuration = msgspec.convert(
        {"generator": "scripted", "suggested_questions_after_answer": {"enabled": True}},
        type(chat.app.configuration),
    )
    chat.app = msgspec.structs.replace(chat.app, configuration=configuration)
    return chat


async def suggest(chat: Chat, message_id: UUID, user: str | None = "ada") -> tuple[str, ...]:
    return await chat.application.suggesting.suggest(chat.caller(user), message_id)


async def proposals(chat: Chat, message_id: UUID) -> list[SuggestedQuestionsProposed]:
    bodies = [envelope.body for envelope in await chat.events(message_id)]
    return [body for body in bodies if isinstance(body, SuggestedQuestionsProposed)]


class Asked:
    """Counts what the scripted model is asked for suggestions, and lets it reply when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[Any] = []
        self.was_asked = asyncio.Event()
        self.may_reply = asyncio.Event()
        text_model = ScriptedGenerator.text_model

        def watched(generator: ScriptedGenerator, settings: Any) -> Any:
            model = text_model(generator, settings)

            async def write(request: Any) -> str:
                if request.purpose != "suggestions":
                    raise GeneratorError("internal", "not asked for here")
                self.requests.append(request)
                self.was_asked.set()
                await self.may_reply.wait()
                return await model(request)

            return model and write

        monkeypatch.setattr(ScriptedGenerator, "text_model", watched)


async def test_a_model_suggests_what_to_ask_next(suggesting):
    message = await suggesting.answered(SCRIPT)
    assert await suggest(suggesting, message.message_id) == ("Why?", "How?", "When?")
    assert await proposals(suggesting, message.message_id) == [SuggestedQuestionsProposed(("Why?", "How?", "When?"))]


async def test_a_model_is_asked_once_however_many_ask(suggesting, monkeypatch):
    message = await suggesting.answered(SCRIPT)
    asked = Asked(monkeypatch)
    asking = [asyncio.create_task(suggest(suggesting, message.message_id)) for _ in range(5)]
    await asked.was_asked.wait()
    asking[0].cancel()
    asked.may_reply.set()
    answers = await asyncio.gather(*asking[1:])
    assert set(answers) == {("Why?", "How?", "When?")}
    assert await suggest(suggesting, message.message_id) == ("Why?", "How?", "When?")
    assert len(asked.requests) == 1
    assert len(await proposals(suggesting, message.message_id)) == 1


async def test_what_was_suggested_is_there_after_a_restart(open_chat):
    async with open_chat() as chat:
        message = await switched_on(chat).answered(SCRIPT)
        assert await suggest(chat, message.message_id)
    async with open_chat(with_worker=False) as chat:
        assert await suggest(switched_on(chat), message.message_id) == ("Why?", "How?", "When?")


@pytest.mark.parametrize(
    "script",
    ["tokens=1", "text_fail_as=transient", "suggestions='no array'", "suggestions='[1, 2]'", f"{SCRIPT} fail_as=quota"],
)
async def test_where_no_model_thinks_of_any_there_are_none(suggesting, script):
    message = await suggesting.answered(script)
    assert await suggest(suggesting, message.message_id) == ()
    assert await proposals(suggesting, message.message_id) == []


async def test_a_failure_is_not_kept(suggesting, monkeypatch):
    message = await suggesting.answered("text_fail_as=transient")
    assert await suggest(suggesting, message.message_id) == ()

    def mended(*_: Any) -> Any:
        async def write(_: Any) -> str:
            return QUESTIONS

        return write

    monkeypatch.setattr(ScriptedGenerator, "text_model", mended)
    assert await suggest(suggesting, message.message_id) == ("Why?", "How?", "When?")


async def test_the_conversation_is_told_up_to_that_message(suggesting, monkeypatch):
    asked = Asked(monkeypatch)
    asked.may_reply.set()
    first = await suggesting.answered(f"{SCRIPT} text=one")
    conversation = first.conversation_id
    messages = [first] + [
        await suggesting.answered(f"{SCRIPT} text={word}", conversation=conversation)
        for word in ("two", "three", "four", "five")
    ]
    asked.requests.clear()
    await suggest(suggesting, messages[3].message_id)
    (request,) = asked.requests
    told = [line.removeprefix("Assistant: ") for line in request.text.splitlines() if line.startswith("Assistant: ")]
    assert told == ["two", "three", "four"]


async def test_the_conversation_is_told_along_the_branch(suggesting, monkeypatch):
    asked = Asked(monkeypatch)
    asked.may_reply.set()
    root = await suggesting.answered(f"{SCRIPT} text=root")
    for word in ("left", "right"):
        branch = await suggesting.answered(
            f"{SCRIPT} text={word}", conversation=root.conversation_id, parent_id=root.message_id
        )
    await suggest(suggesting, branch.message_id)
    (request,) = asked.requests
    assert [line for line in request.text.splitlines() if line.startswith("Assistant: ")] == [
        "Assistant: root",
        "Assistant: right",
    ]


async def test_an_answer_in_the_making_has_none_yet(suggesting):
    sent = await suggesting.send(f"{SCRIPT} interval_ms=3600000")
    await suggesting.first_text(suggesting.batches(sent))
    assert await suggest(suggesting, sent.message_id) == ()
    assert await proposals(suggesting, sent.message_id) == []


async def test_another_users_message_is_not_there(suggesting):
    message = await suggesting.answered(SCRIPT)
    with pytest.raises(NotFoundError):
        await suggest(suggesting, message.message_id, user="eve")
    assert await suggest(suggesting, message.message_id, user=None)


async def test_with_its_conversation_the_suggestions_are_gone(suggesting):
    message = await suggesting.answered(SCRIPT)
    caller: Caller = suggesting.caller()
    await suggesting.running.ledger.decide(
        Conversation, message.conversation_id, lambda staged: staged.aggregate.delete(), caller.context(None)
    )
    with pytest.raises(NotFoundError):
        await suggest(suggesting, message.message_id)


async def test_an_app_may_suggest_none(chat):
    message = await chat.answered(SCRIPT)
    with pytest.raises(FeatureDisabledError):
        await suggest(chat, message.message_id)


async def test_a_completion_suggests_none(chat):
    chat.app = await chat.new_app("completion", tokens=1)
    sent = await chat.application.sending.send(chat.caller(), NewMessage(query="a poem", inputs={}))
    await chat.to_the_end(sent)
    with pytest.raises(WrongModeError):
        await suggest(chat, sent.message_id)


async def test_closing_ends_what_is_under_way(open_chat, monkeypatch):
    asked = Asked(monkeypatch)
    async with open_chat() as chat:
        message = await switched_on(chat).answered(SCRIPT)
        waiting = asyncio.create_task(suggest(chat, message.message_id))
        await asked.was_asked.wait()
    with pytest.raises(ClosedError):
        await waiting
