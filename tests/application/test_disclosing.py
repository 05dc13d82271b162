"""What goes to models beside the answers: nothing of whoever has been erased."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from chatledger.adapters.generator.scripted import ScriptedGenerator
from chatledger.application.commands import suggesting
from chatledger.application.commands.speaking import Speaking
from chatledger.application.erasure.disclosing import Disclosing
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.storage import StorageUnavailableError
from tests.application.chat import DEADLINE, Chat, until
from tests.application.test_suggesting import SCRIPT, Asked, suggest, switched_on
from tests.support.databases import ON_SQLITE
from tests.support.server import a_context

pytestmark = ON_SQLITE


async def erase(chat: Chat, user: str = "ada") -> None:
    erasing = chat.application.erasing
    person = await chat.application.end_users.named(chat.app.app_id, "service-api", user)
    await erasing.request(person, a_context())
    assert (await erasing.until_done(person, DEADLINE)).erased_position is not None


async def test_suggestions_of_the_erased_are_broken_off_and_those_that_wait_are_never_asked_for(open_chat, monkeypatch):
    monkeypatch.setattr(suggesting, "CONCURRENCY", 1)
    asked = Asked(monkeypatch)
    async with open_chat() as chat:
        switched_on(chat)
        messages = [(await chat.answered(f"{SCRIPT} text={word}")).message_id for word in ("one", "two")]
        asking = [asyncio.create_task(suggest(chat, message_id)) for message_id in messages]
        await asked.was_asked.wait()
        await erase(chat)
        async with asyncio.timeout(DEADLINE):
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(outcomes[0], KeyDestroyedError)
        assert outcomes[1] == () or isinstance(outcomes[1], KeyDestroyedError)
        assert len(asked.requests) == 1
        asked.may_reply.set()
        assert await suggest(chat, (await chat.answered(SCRIPT)).message_id) == ("Why?", "How?", "When?")


async def test_no_name_is_found_for_what_the_erased_have_asked(open_chat, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    begun = asyncio.Event()

    def never(*_: Any) -> Any:
        async def write(_: Any) -> str:
            begun.set()
            await asyncio.Event().wait()
            return "unreachable"

        return write

    monkeypatch.setattr(ScriptedGenerator, "text_model", never)
    async with open_chat() as chat:
        sent = await chat.send("tokens=1")
        await chat.to_the_end(sent)
        await begun.wait()
        first = await chat.application.naming.first_message(sent.conversation_id)
        await erase(chat)

        async def has_gone() -> bool:
            return f"conversation {sent.conversation_id} has gone before it had a name" in caplog.text

        await until(has_gone)
        begun.clear()
        with pytest.raises(KeyDestroyedError):
            await chat.application.naming.find_name(first)
        assert not begun.is_set()


async def test_an_answer_of_the_erased_is_not_spoken_on(open_chat):
    said = []

    async def speak(text: str, _: str) -> Any:
        for word in text.split():
            said.append(word)
            yield word.encode()

    async with open_chat() as chat:
        keyring, features = chat.running.ledger.keyring, SimpleNamespace(text_to_speech=SimpleNamespace(speak=speak))
        disclosing = Disclosing(keyring)
        speaking = Speaking(chat.running.ledger, chat.application.history, features, disclosing, 1_000)
        sent = await chat.send("tokens=1")
        await chat.to_the_end(sent)
        key_id = sent.created.key_id
        pieces = speaking.follow_up(chat.app, "one two three", key_id)
        assert await anext(pieces) == b"one"
        await erase(chat)
        assert [piece async for piece in pieces] == []
        assert [piece async for piece in speaking.follow_up(chat.app, "four", key_id)] == []
        assert said == ["one"]

        person = keyring.new_key(None)

        async def disclose() -> None:
            async with disclosing.while_sealed(person.key_id):
                disclosing.forget_erased(lambda key_id: key_id == person.key_id)
                await asyncio.Event().wait()

        with pytest.raises(StorageUnavailableError):  # who is there yet is told to come again
            await asyncio.wait_for(disclose(), DEADLINE)
