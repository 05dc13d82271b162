"""What is read for a message: as much of a long conversation as of a short one."""

from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID

import pytest

from chatledger.application.commands.new_message import NewMessage, Sent
from chatledger.application.context import SYSTEM, Context
from chatledger.application.errors import NotFoundError
from chatledger.application.ledger.sealed_rows import Answer, Question
from chatledger.application.ports.generator import Part, Text
from chatledger.domain.configuration import AppConfiguration, DeclaredVariable
from tests.application.chat import Chat, text_of


class Remembering:
    """Says what the variable is or, where it is asked, what the last questions were."""

    name = "remembering"
    repeatable = True

    def check_settings(self, settings: Any) -> None: ...

    def settings_for(self, query: str, settings: Any) -> Any:
        return settings

    async def generate(self, request: Any) -> AsyncGenerator[Part, None]:
        if request.query == "before":
            yield Text(" ".join(exchange.query for exchange in await request.history(2)))
        else:
            yield Text(str((await request.variables())["mood"]))

    async def close(self) -> None: ...


@pytest.fixture
async def chat(open_chat):
    async with open_chat(generators=[Remembering()]) as opened:
        configuration = AppConfiguration(
            generator="remembering", conversation_variables=(DeclaredVariable(name="mood", default="calm"),)
        )
        context = Context(actor=SYSTEM, correlation_id=opened.application.new_id())
        created = await opened.application.apps.create("chat", "moody", configuration, context)
        opened.app = await opened.application.credentials.app(created.api_key)
        yield opened


async def set_mood(chat: Chat, conversation: UUID, mood: str) -> None:
    variable = (await chat.application.views.variables(conversation))[0]
    await chat.application.setting_variables.set(chat.caller(), conversation, variable.variable_id, mood)


@pytest.fixture
def streams_read(chat, monkeypatch) -> list[UUID]:
    """The streams whose events are read from now on."""
    store, seen = chat.running.store, []
    read = store.stream

    def stream(stream_id: UUID, *args: Any, **more: Any) -> Any:
        seen.append(stream_id)
        return read(stream_id, *args, **more)

    monkeypatch.setattr(store, "stream", stream)
    return seen


async def test_a_message_is_sent_and_answered_without_the_events_of_its_conversation(chat, streams_read):
    first = await chat.answered()
    assert first.answer == "calm"
    await set_mood(chat, first.conversation_id, "glad")
    streams_read.clear()
    assert (await chat.answered(conversation=first.conversation_id)).answer == "glad"
    assert first.conversation_id not in streams_read


async def test_no_more_of_what_was_said_is_opened_than_a_generator_wants(chat, monkeypatch):
    first = await chat.answered()
    for query in ("two", "three", "four"):
        await chat.to_the_end(await ask(chat, first.conversation_id, query))
    seals, opened = chat.application.views._seals, []
    open_row = seals.open

    def note(key_id: UUID, kind: type, *rest: Any) -> Any:
        opened.append(kind)
        return open_row(key_id, kind, *rest)

    monkeypatch.setattr(seals, "open", note)
    sent = await ask(chat, first.conversation_id, "before")
    events = await chat.to_the_end(sent)
    assert text_of(events) == "three four"
    assert (opened.count(Question), opened.count(Answer)) == (2, 2)


async def ask(chat: Chat, conversation: UUID, query: str) -> Sent:
    new = NewMessage(query=query, inputs={}, conversation_id=conversation)
    return await chat.application.sending.send(chat.caller(), new)


async def test_what_is_set_after_the_sending_changes_nothing_in_the_prompt(chat, monkeypatch):
    first = await chat.answered()
    variables = chat.application.views.variables

    async def overtaken(conversation_id: UUID) -> Any:
        monkeypatch.undo()
        await set_mood(chat, conversation_id, "glad")
        return await variables(conversation_id)

    monkeypatch.setattr(chat.application.views, "variables", overtaken)
    assert (await chat.answered(conversation=first.conversation_id)).answer == "calm"


@pytest.mark.parametrize("moment", ["version", "row"])
async def test_nothing_is_sent_to_a_conversation_that_is_deleted_meanwhile(chat, monkeypatch, moment):
    first = await chat.answered()
    place = {"version": (chat.running.ledger, "stream_head"), "row": (chat.application.views, "conversation_place")}
    target, name = place[moment]
    read = getattr(target, name)

    async def overtaken(stream_id: UUID) -> Any:
        monkeypatch.undo()
        found = await read(stream_id)
        await chat.application.deleting.delete(chat.caller(), first.conversation_id)
        return found

    monkeypatch.setattr(target, name, overtaken)
    with pytest.raises(NotFoundError):
        await chat.send(conversation=first.conversation_id)
