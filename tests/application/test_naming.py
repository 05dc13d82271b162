"""Names that come by themselves: beside the answer, once, and never over a user's own."""

from functools import partial
from uuid import UUID

import pytest

from chatledger.application.commands.naming import Naming
from chatledger.application.generation import automatic_naming
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.views import ConversationView, Page
from chatledger.domain.conversation import Conversation
from chatledger.domain.events import ConversationRenamed, ConversationStarted
from tests.application.chat import Chat, until

LONG = "x" * 60


async def conversation(chat: Chat) -> ConversationView:
    found, _ = await chat.application.history.conversations(chat.caller(), "-updated_at", Page(20))
    return found[0]


async def renamings(chat: Chat, conversation_id: UUID) -> list[Envelope]:
    return [
        envelope
        for envelope in await chat.running.ledger.read(conversation_id)
        if isinstance(envelope.body, ConversationRenamed)
    ]


async def named(chat: Chat) -> ConversationView:
    """The conversation, once it has been renamed."""

    async def view() -> ConversationView | None:
        conversation_id = (await conversation(chat)).conversation_id
        return await conversation(chat) if await renamings(chat, conversation_id) else None

    return await until(view)


async def rename(chat: Chat, conversation_id: UUID, name: str) -> None:
    context = chat.caller().context(None)
    await chat.running.ledger.decide(
        Conversation, conversation_id, lambda staged: staged.aggregate.rename(name), context
    )


async def test_a_model_names_a_new_conversation(chat):
    sent = await chat.send("title='\"The blue sky\"'")
    await chat.to_the_end(sent)
    view = await named(chat)
    assert view.name == "The blue sky"
    (renaming,) = await renamings(chat, sent.conversation_id)
    assert renaming.body.by == "automatic"
    assert await chat.application.views.unnamed(10) == []


async def test_the_first_message_is_the_cause_of_the_name(chat):
    sent = await chat.send("title=Sky")
    await named(chat)
    facts, _ = await chat.application.facts.stream(sent.conversation_id, 1, 10)
    assert facts[0].context.causation_id == sent.created.event_id
    assert facts[0].context.actor.kind == "system"


async def test_the_answer_does_not_wait_for_the_name(chat):
    sent = await chat.send("title=Late text_ms=3600000 tokens=3")
    await chat.to_the_end(sent)
    assert (await chat.view(sent.message_id)).answer == "t0 t1 t2 "
    assert (await conversation(chat)).name == "/script title=Late t…"
    assert await renamings(chat, sent.conversation_id) == []


async def test_where_the_model_fails_a_line_of_the_question_is_the_name(chat):
    sent = await chat.send(f"text_fail_as=transient text={LONG}")
    assert (await named(chat)).name == f"/script text_fail_as=transient text={LONG}"[:47] + "..."
    await chat.to_the_end(sent)


async def test_where_there_is_no_model_the_name_is_there_from_the_start(chat):
    sent = await chat.send(f"text={LONG}")
    await chat.to_the_end(sent)
    assert (await conversation(chat)).name == f"/script text={LONG}"[:47] + "..."
    assert [type(e.body) for e in await chat.running.ledger.read(sent.conversation_id)] == [ConversationStarted]


async def test_only_a_new_conversation_gets_a_name(chat):
    first = await chat.answered("title=First")
    await named(chat)
    second = await chat.send("title=Second", conversation=first.conversation_id)
    await chat.to_the_end(second)
    assert (await conversation(chat)).name == "First"


async def test_a_name_of_the_users_that_comes_while_the_model_writes_stays(open_chat, monkeypatch):
    monkeypatch.setattr(automatic_naming, "CONCURRENCY", 1)
    find_name = Naming.find_name

    async with open_chat() as chat:

        async def while_the_user_renames(naming, first):
            name = await find_name(naming, first)
            if name == "Theirs":
                await rename(chat, sent.conversation_id, "Mine")
            return name

        monkeypatch.setattr(Naming, "find_name", while_the_user_renames)
        sent = await chat.send("title=Theirs tokens=1")
        following = await chat.send("title=Next tokens=1")
        await chat.to_the_end(sent)
        await chat.to_the_end(following)
        await until(partial(renamings, chat, following.conversation_id))
        assert [renaming.body.name for renaming in await renamings(chat, sent.conversation_id)] == ["Mine"]


async def test_a_name_of_the_users_that_comes_while_one_is_found_at_their_wish_stays(open_chat, monkeypatch):
    find_name = Naming.find_name
    async with open_chat(with_worker=False) as chat:
        sent = await chat.send("title=Theirs")
        sent.follower.close()
        await rename(chat, sent.conversation_id, "Before")

        async def while_the_user_renames(naming, first):
            name = await find_name(naming, first)
            await rename(chat, sent.conversation_id, "Mine")
            return name

        monkeypatch.setattr(Naming, "find_name", while_the_user_renames)
        view = await chat.application.renaming.name_automatically(chat.caller(), sent.conversation_id)
        assert view.name == "Mine"

        monkeypatch.setattr(Naming, "find_name", find_name)
        view = await chat.application.renaming.name_automatically(chat.caller(), sent.conversation_id)
        assert view.name == "Theirs"


async def test_a_conversation_that_was_left_without_a_name_gets_it_after_a_restart(open_chat):
    async with open_chat(with_worker=False) as chat:
        sent = await chat.send("title=Found")
        sent.follower.close()
        assert await chat.application.views.unnamed(10) == [sent.conversation_id]
    async with open_chat() as chat:
        assert (await named(chat)).name == "Found"


async def test_what_does_not_fit_into_the_queue_is_found_again(open_chat, monkeypatch):
    monkeypatch.setattr(automatic_naming, "MAX_WAITING", 1)
    monkeypatch.setattr(automatic_naming, "CONCURRENCY", 1)
    monkeypatch.setattr(automatic_naming, "LOOK_INTERVAL", 0.05)
    async with open_chat() as chat:
        sent = [await chat.send(f"title=T{number} text_ms=20") for number in range(4)]
        for one in sent:
            await chat.to_the_end(one)

        async def all_named() -> bool:
            found, _ = await chat.application.history.conversations(chat.caller(), "created_at", Page(20))
            return [view.name for view in found] == ["T0", "T1", "T2", "T3"]

        await until(all_named)


async def test_more_are_not_asked_at_once_than_may_be(open_chat, monkeypatch):
    monkeypatch.setattr(automatic_naming, "CONCURRENCY", 2)
    at_once, most = 0, 0
    find_name = Naming.find_name

    async def counted(naming, first):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return await find_name(naming, first)
        finally:
            at_once -= 1

    monkeypatch.setattr(Naming, "find_name", counted)
    async with open_chat() as chat:
        for number in range(6):
            (await chat.send(f"title=T{number} text_ms=250 tokens=1")).follower.close()

        async def none_waits() -> bool:
            return not await chat.application.views.unnamed(10)

        await until(none_waits)
    assert most == 2


@pytest.mark.parametrize(
    ("script", "name"),
    [("title=Sky", "Sky"), ("tokens=1", "/script tokens=1"), ("text_fail_as=quota", None), ("title=''", None)],
)
async def test_a_name_can_be_asked_for(open_chat, script, name):
    async with open_chat(with_worker=False) as chat:
        sent = await chat.send(script)
        sent.follower.close()
        naming = chat.application.naming
        first = await naming.first_message(sent.conversation_id)
        assert await naming.find_name(first) == name
