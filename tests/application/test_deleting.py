"""What becomes of the answers in a conversation that is deleted."""

from functools import partial
from uuid import UUID

from chatledger.application.commands.stopping import Stopping
from chatledger.application.generation import deleted_conversations
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import DomainError
from tests.application.chat import Chat, until


async def has_stopped(chat: Chat, message_id: UUID) -> bool:
    view = await chat.application.views.message(message_id)
    return view is not None and view.state == "stopped"


async def test_whoever_deletes_need_not_stay_until_the_answers_are_stopped(chat):
    sent = await chat.send("tokens=2 interval_ms=3600000")
    await chat.first_text(chat.batches(sent))

    # What a request comes to that is cancelled at once.
    await chat.running.ledger.decide(
        Conversation, sent.conversation_id, lambda staged: staged.aggregate.delete(), chat.caller().context(None)
    )

    await until(partial(has_stopped, chat, sent.message_id))


async def test_an_answer_that_cannot_be_stopped_keeps_no_other_from_it(open_chat, monkeypatch):
    monkeypatch.setattr(deleted_conversations, "LOOK_INTERVAL", 0.05)
    stop, refused = Stopping.stop_for, []

    async def refusing_once(stopping, reason, message_id):
        if not refused:
            refused.append(message_id)
            raise DomainError
        await stop(stopping, reason, message_id)

    monkeypatch.setattr(Stopping, "stop_for", refusing_once)
    async with open_chat() as chat:
        first = await chat.send("tokens=2 interval_ms=3600000")
        second = await chat.send("tokens=2 interval_ms=3600000", conversation=first.conversation_id)
        other = await chat.send("tokens=2 interval_ms=3600000")
        for sent in (first, second, other):
            sent.follower.close()
        await chat.application.deleting.delete(chat.caller(), first.conversation_id)

        for sent in (first, second):
            await until(partial(has_stopped, chat, sent.message_id))
        assert refused == [second.message_id]
        assert not await has_stopped(chat, other.message_id)


async def test_what_was_left_running_by_an_earlier_process_is_stopped(open_chat):
    async with open_chat(with_worker=False) as chat:
        sent = await chat.send("tokens=2 interval_ms=3600000")
        sent.follower.close()
        await chat.application.deleting.delete(chat.caller(), sent.conversation_id)
        assert await chat.application.views.unseen(10) == [sent.message_id]
    async with open_chat() as chat:
        await until(partial(has_stopped, chat, sent.message_id))
        assert await chat.application.views.unseen(10) == []
