"""Erasing by age: what has begun is finished, one thing's trouble is not the others', and what is in use stays."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.tables import MESSAGES
from chatledger.adapters.persistence.views.erasure import SqlErasureViews
from chatledger.application.context import SYSTEM, Context
from chatledger.application.errors import InvalidParameterError
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.views import Page
from chatledger.domain.configuration import AppConfiguration, DeclaredVariable, FileUpload
from chatledger.domain.conversation import Conversation
from chatledger.domain.file import File
from tests.application.chat import Chat, until
from tests.application.test_erasing import (
    in_pieces,
    is_erased,
    is_file_erased,
    person,
    require_equal_replay,
    said,
)
from tests.support.server import a_context


async def uploaded(chat: Chat, user: str = "ada") -> UUID:
    return (await chat.application.uploading.upload(chat.caller(user), "a.txt", in_pieces(b"bytes"))).file_id


async def keep_for(chat: Chat, days: int | None) -> None:
    await chat.application.apps.set_retention(chat.app.app_id, days, a_context())


@pytest.fixture
def in_a_month(monkeypatch) -> Callable[[Chat], None]:
    def turn(chat: Chat) -> None:
        now, clock = chat.application.clock.now, chat.application.clock
        monkeypatch.setattr(type(clock), "now", lambda _: now() + timedelta(days=31))

    return turn


async def conversation_of(chat: Chat) -> UUID:
    return (await said(chat, "old")).conversation_id


async def key_is_gone(chat: Chat, stream_id: UUID) -> bool:
    try:
        await chat.running.ledger.read(stream_id)
    except KeyDestroyedError:
        return True
    return False


@pytest.mark.parametrize(
    ("kind", "make", "is_done", "dies"),
    [(Conversation, conversation_of, is_erased, True), (File, uploaded, is_file_erased, False)],
)
async def test_what_has_lost_its_key_is_put_on_record_whatever_comes(
    open_chat, monkeypatch, in_a_month, kind, make, is_done, dies
):
    def fail(*_: object) -> None:
        raise RuntimeError("about to die")

    with monkeypatch.context() as broken:
        async with open_chat() as chat:
            old = await make(chat)
            in_a_month(chat)
            broken.setattr(kind, "erase", fail)
            await keep_for(chat, 30)
            await until(partial(key_is_gone, chat, old))
            await chat.application.holds.place(await person(chat), "a case", a_context())
            if not dies:
                broken.undo()
            await keep_for(chat, None)
            if not dies:
                await until(partial(is_done, chat, old))
    async with open_chat() as chat:
        await until(partial(is_done, chat, old))
        await require_equal_replay(chat)


async def test_what_cannot_be_erased_by_age_keeps_nothing_else(chat, monkeypatch, in_a_month, caplog):
    """Neither one that stands first in every batch, nor an app whose things cannot even be looked for."""
    monkeypatch.setattr("chatledger.application.erasure.retaining.AT_ONCE", 1)
    erase, find = Conversation.erase, SqlErasureViews.resting_conversations
    bad, good, file_id = await conversation_of(chat), await conversation_of(chat), await uploaded(chat)

    def fail_for_one(self: Conversation, cause: str) -> None:
        if self.id == bad:
            raise RuntimeError("this one cannot be erased")
        erase(self, cause)

    monkeypatch.setattr(Conversation, "erase", fail_for_one)
    in_a_month(chat)
    await keep_for(chat, 30)
    await until(partial(is_erased, chat, good))
    await until(partial(is_file_erased, chat, file_id))
    assert not await is_erased(chat, bad)
    assert f"conversation {bad} is erased later" in caplog.text

    async def fail_for_app(self: SqlErasureViews, app_id: UUID, *more: object) -> object:
        if app_id == first.app_id:
            raise RuntimeError("this one cannot be looked at")
        return await find(self, app_id, *more)

    first, chat.app = chat.app, await chat.new_app()
    file_id = await uploaded(chat, "eve")
    monkeypatch.setattr(SqlErasureViews, "resting_conversations", fail_for_app)
    in_a_month(chat)
    await keep_for(chat, 30)
    await until(partial(is_file_erased, chat, file_id))


async def test_a_file_that_a_variable_has_is_kept_and_an_erased_one_is_nobodys(chat, in_a_month):
    configuration = AppConfiguration(
        generator="scripted",
        file_upload=FileUpload(enabled=True, kinds=()),
        conversation_variables=(
            DeclaredVariable(name="one", value_type="file"),
            DeclaredVariable(name="many", value_type="array[file]"),
        ),
    )
    context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())
    created = await chat.application.apps.create("chat", "demo", configuration, context)
    chat.app = await chat.application.credentials.app(created.api_key)
    conversation_id = await conversation_of(chat)
    files = [await uploaded(chat) for _ in range(3)]
    one, many, unused = (
        {"type": "document", "transfer_method": "local_file", "upload_file_id": str(file_id)} for file_id in files
    )
    variables, _ = await chat.application.history.variables(chat.caller(), conversation_id, Page(20))
    for variable, value in zip(variables, (one, [many]), strict=True):
        await chat.application.setting_variables.set(chat.caller(), conversation_id, variable.variable_id, value)

    in_a_month(chat)
    sent = await chat.send("text=more", conversation=conversation_id)
    await chat.to_the_end(sent)
    await keep_for(chat, 30)
    await until(partial(is_file_erased, chat, files[2]))
    assert [await is_file_erased(chat, file_id) for file_id in files] == [False, False, True]
    await require_equal_replay(chat)
    await chat.to_the_end(await chat.send("text=more", files=(one,)))
    with pytest.raises(InvalidParameterError):
        await chat.send("text=more", files=(unused,))


async def test_a_long_conversation_is_emptied_before_the_event(chat, monkeypatch, in_a_month):
    """Its rows are not emptied in one statement of the commit that everybody waits for."""
    monkeypatch.setattr("chatledger.application.erasure.emptying.AT_ONCE", 1, raising=False)
    old = await conversation_of(chat)
    await chat.answered("text=more", conversation=old)
    rows = sa.select(MESSAGES.c.question, MESSAGES.c.answer).where(MESSAGES.c.conversation_id == old)

    def are_empty() -> bool:
        with chat.running.reader._engine.connect() as connection:
            return all(tuple(row) == (b"", None) for row in connection.execute(rows))

    seen, erase = [], Conversation.erase

    def look_and_erase(self: Conversation, cause: str) -> None:
        seen.append(are_empty())
        erase(self, cause)

    monkeypatch.setattr(Conversation, "erase", look_and_erase)
    in_a_month(chat)
    await keep_for(chat, 30)
    await until(partial(is_erased, chat, old))
    assert seen == [True]
    await require_equal_replay(chat)
