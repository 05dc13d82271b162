"""Several senders in one conversation: whose turn it is, and what each answer has read."""

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any
from uuid import UUID

import msgspec
import pytest

from chatledger.adapters.queue.in_process import InProcessTaskQueue
from chatledger.application.commands import sending
from chatledger.application.commands.new_message import NewMessage, Sent
from chatledger.application.commands.stopping import Stopping
from chatledger.application.errors import ConversationBusyError, InvalidParameterError
from chatledger.application.generation.interruptions import Interruptions
from chatledger.application.generation.offering import Offering
from chatledger.application.generation.turns import Turns
from chatledger.application.ports.queue import QueueItem
from chatledger.domain.configuration import AppConfiguration, Switch
from chatledger.domain.events import GenerationStarted, MessageStopped, StopRequested
from chatledger.domain.message import Message
from chatledger.domain.values import OnBusy
from tests.application.chat import Chat, until
from tests.support.databases import ON_SQLITE
from tests.support.recalling import RecallingGenerator

ENDLESS = "endless 2 3600000"


class Room:
    """A conversation, and what is said in it."""

    def __init__(self, chat: Chat, generator: RecallingGenerator) -> None:
        self.chat = chat
        self.generator = generator
        self.conversation_id: UUID | None = None

    async def send(self, query: str = "word 2 0", on_busy: OnBusy | None = "queue", **more: Any) -> Sent:
        new = NewMessage(query=query, inputs={}, conversation_id=self.conversation_id, on_busy=on_busy, **more)
        sent = await self.chat.application.sending.send(self.chat.caller(), new)
        sent.follower.close()
        self.conversation_id = sent.conversation_id
        return sent

    async def begun(self, sent: Sent) -> None:
        """Wait for its first text."""
        await until(lambda: self.answer(sent))

    async def answer(self, sent: Sent) -> str:
        staged = await self.chat.running.ledger.load(Message, sent.message_id)
        return staged.aggregate.answer

    async def stop(self, sent: Sent) -> None:
        await self.chat.application.stopping.stop(self.chat.caller(), sent.task_id)

    async def task(self, sent: Sent) -> tuple[str, int]:
        """Its state, and how many have to end before it begins."""
        task = await self.chat.application.history.task(self.chat.caller(), sent.task_id)
        return task.state, task.ahead

    async def end(self, *sent: Sent) -> list[str]:
        """How each of them ends."""
        ends = []
        for each in sent:

            async def has_ended(each: Sent = each) -> bool:
                return (await self.chat.view(each.message_id)).ended_at is not None

            await until(has_ended)
            view = await self.chat.view(each.message_id)
            ends.append(view.stopped_by or view.state)
        return ends

    async def body(self, sent: Sent, kind: type) -> Any:
        (body,) = [event.body for event in await self.chat.events(sent.message_id) if isinstance(event.body, kind)]
        return body

    def heard(self, sent: Sent) -> list[tuple[str, str]]:
        """What its one attempt was told of what had been said."""
        (history,) = self.generator.heard[sent.message_id]
        return [(exchange.query, exchange.answer) for exchange in history]


@pytest.fixture
def open_room(open_chat):
    @asynccontextmanager
    async def opened(**settings):
        generator = RecallingGenerator()
        async with open_chat(generators=[generator], **settings) as chat:
            apps = await chat.application.views.apps()
            chat.app = apps[1] if len(apps) > 1 else await chat.new_app(generator="recalling")
            yield Room(chat, generator)

    return opened


@pytest.fixture
async def room(open_room):
    async with open_room() as opened:
        yield opened


# queue


async def test_what_is_queued_is_answered_one_after_the_other_and_at_once(open_room):
    async with open_room(heartbeat=60, lease=300) as room:  # no sweep helps
        first = await room.send(ENDLESS)
        await room.begun(first)
        queued = [await room.send(f"{word} 2 0") for word in ("one", "two", "three")]
        assert [await room.task(sent) for sent in queued] == [("queued", 1), ("queued", 2), ("queued", 3)]

        await room.stop(first)

        assert await room.end(first, *queued) == ["user", *["completed"] * 3]
        said = [(ENDLESS, "endless0 "), ("one 2 0", "one0 one1 "), ("two 2 0", "two0 two1 ")]
        assert [room.heard(sent) for sent in queued] == [said[:1], said[:2], said]
        for earlier, later in pairwise((first, *queued)):
            started = (await room.chat.events(later.message_id))[1]
            end = (await room.chat.events(earlier.message_id))[-1]
            assert isinstance(started.body, GenerationStarted)
            assert end.position <= started.body.context_cut < started.position
        assert [await room.task(sent) for sent in queued] == [("completed", 0)] * 3


@ON_SQLITE
async def test_nobody_waits_in_an_idle_conversation(room):
    for _ in range(2):
        assert await room.end(await room.send()) == ["completed"]


@ON_SQLITE
async def test_what_waits_can_be_stopped_at_once_and_keeps_nobody_waiting(room):
    first = await room.send(ENDLESS)
    await room.begun(first)
    second, third = await room.send(), await room.send()
    await room.stop(second)
    assert await room.task(second) == ("stopped", 0)
    assert (await room.body(second, MessageStopped)).offset == 0
    assert await room.task(third) == ("queued", 1)
    await room.stop(first)
    assert await room.end(third) == ["completed"]
    assert room.heard(third) == [(ENDLESS, "endless0 ")]


@ON_SQLITE
async def test_what_came_later_is_no_part_of_a_queued_messages_prompt(room):
    first = await room.send(ENDLESS)
    await room.begun(first)
    queued = await room.send("queued 1 0")
    beside = await room.send("beside 1 0", "allow")
    assert await room.end(beside) == ["completed"]
    await room.stop(first)
    assert await room.end(queued) == ["completed"]
    assert room.heard(beside) == []
    assert room.heard(queued) == [(ENDLESS, "endless0 ")]
    last = await room.send("last 1 0")
    assert await room.end(last) == ["completed"]
    assert room.heard(last) == [(ENDLESS, "endless0 "), ("queued 1 0", "queued0 "), ("beside 1 0", "beside0 ")]


@ON_SQLITE
async def test_a_later_attempt_reads_what_the_first_did(open_room):
    async with open_room(lease=0.5, heartbeat=0.1) as room:
        first = await room.send(ENDLESS)
        await room.begun(first)
        queued = await room.send("queued 40 20")
        await room.stop(first)
        await room.begun(queued)
        later = await room.send("later 1 0", "allow")
        assert await room.end(later) == ["completed"]
        context = room.chat.caller().context(None)
        await room.chat.running.ledger.decide(
            Message, queued.message_id, lambda staged: staged.aggregate.start_attempt("another"), context
        )
        assert await room.end(queued) == ["completed"]
        heard = room.generator.heard[queued.message_id]
        assert [[exchange.query for exchange in history] for history in heard] == [[ENDLESS]] * 2


@ON_SQLITE
async def test_the_time_that_an_answer_may_take_begins_with_its_turn(open_room):
    async with open_room(generation_timeout=0.5) as room:
        first, second = await room.send("first 30 20"), await room.send("second 2 1")
        third = await room.send("third 2 1")
        assert await room.end(first, second, third) == ["timeout", "completed", "completed"]


@ON_SQLITE
async def test_a_conversations_queue_is_bounded_and_what_interrupts_empties_it(open_room, monkeypatch):
    monkeypatch.setattr(sending, "MOST_UNFINISHED", {"reject": 0, "queue": 2, "interrupt": 5})
    async with open_room() as room:
        first = await room.send(ENDLESS)
        await room.begun(first)
        results = await asyncio.gather(*(room.send() for _ in range(4)), return_exceptions=True)
        waiting = [result for result in results if isinstance(result, Sent)]
        refused = [result for result in results if isinstance(result, ConversationBusyError)]
        assert (len(waiting), len(refused)) == (2, 2)
        last = await room.send(on_busy="interrupt")
        assert await room.end(first, *waiting, last) == [*["interruption"] * 3, "completed"]
        assert await room.end(await room.send()) == ["completed"]


@ON_SQLITE
async def test_a_deleted_conversation_lets_nobody_wait_in_it(room):
    first = await room.send(ENDLESS)
    await room.begun(first)
    second = await room.send()
    await room.chat.application.deleting.delete(room.chat.caller(), room.conversation_id)

    async def is_stopped(sent):
        return (await room.chat.application.views.message(sent.message_id)).state == "stopped"

    await until(lambda: is_stopped(first))
    await until(lambda: is_stopped(second))


@ON_SQLITE
async def test_a_turn_whose_signal_is_lost_is_found_by_the_sweeper(open_room, monkeypatch):
    monkeypatch.setattr(Turns, "committed", lambda turns, envelopes: None)
    async with open_room(heartbeat=0.1) as room:
        sent = [await room.send(f"word{number} 1 0") for number in range(3)]
        assert await room.end(*sent) == ["completed"] * 3
        assert [len(room.heard(each)) for each in sent] == [0, 1, 2]


async def test_a_worker_leaves_what_is_handed_to_it_before_its_turn(open_room):
    async with open_room(heartbeat=0.1) as room:
        first = await room.send(ENDLESS)
        await room.begun(first)
        queued = await room.send()
        item = QueueItem(
            task_id=queued.task_id,
            message_id=queued.message_id,
            conversation_id=queued.conversation_id,
            mode="chat",
            event="MessageCreated",
            source="pipeline",
        )
        assert await room.chat.running.worker._claim(item) is None
        offered = await room.chat.application.views.unclaimed(2**62, 10)
        assert [task.message_id for task in offered] == [first.message_id]
        assert await room.chat.names(queued.message_id) == ["MessageCreated"]
        await room.stop(first)
        assert await room.end(queued) == ["completed"]


@ON_SQLITE
async def test_a_node_without_a_worker_keeps_no_list_of_who_waits(open_room):
    async with open_room(with_worker=False) as room:
        turns = Turns(room.chat.application.views, Offering(InProcessTaskQueue()), is_alone=False)
        room.chat.running.writer.observe(turns.committed)
        for _ in range(3):
            await room.send()
        assert turns._waiting == set()


async def test_turns_outlive_a_restart(open_room):
    async with open_room(with_worker=False) as room:
        sent = [await room.send(f"word{number} 1 0") for number in range(6)]
    async with open_room(heartbeat=60, lease=300) as room:  # the first sweep alone would begin only the first of them
        assert await room.end(*sent) == ["completed"] * 6
        assert [len(room.heard(each)) for each in sent] == [0, 1, 2, 3, 4, 5]


# reject


async def test_of_many_who_would_not_wait_one_gets_in(room):
    await room.end(await room.send())
    before = await room.chat.running.store.head()
    results = await asyncio.gather(*(room.send(ENDLESS, "reject") for _ in range(20)), return_exceptions=True)
    (accepted,) = [result for result in results if isinstance(result, Sent)]
    assert sum(isinstance(result, ConversationBusyError) for result in results) == 19
    names = await room.chat.running.store.log(
        lambda rows: [row.name for row in rows], after=before.position, limit=10_000
    )
    assert names.count("MessageCreated") == 1
    await room.stop(accepted)
    assert await room.end(accepted) == ["user"]
    assert await room.end(await room.send(on_busy="reject")) == ["completed"]


@pytest.mark.parametrize("earlier", ["allow", "queue", "interrupt", "reject"])
@ON_SQLITE
async def test_whatever_is_unfinished_makes_a_conversation_busy(room, earlier):
    first = await room.send(ENDLESS, earlier)
    with pytest.raises(ConversationBusyError):
        await room.send(on_busy="reject")
    await room.stop(first)


@ON_SQLITE
async def test_a_request_that_is_sent_twice_is_not_busy_with_itself(room):
    limits = msgspec.structs.replace(room.chat.app.configuration.limits, dedupe_window=60)
    room.chat.app = await configured(room.chat, limits=limits)
    await room.end(await room.send())
    first = await room.send(ENDLESS, "reject")
    again = await room.send(ENDLESS, "reject")
    assert again.message_id == first.message_id
    await room.stop(first)
    await room.end(first)
    first = await room.send(ENDLESS, "reject", idempotency_key="once")
    again = await room.send(ENDLESS, "reject", idempotency_key="once")
    assert again.message_id == first.message_id
    await room.stop(first)


# interrupt


async def test_what_interrupts_ends_what_runs_and_what_waits_and_reads_what_was_said(room):
    first = await room.send(ENDLESS)
    await room.begun(first)
    waiting, beside = await room.send(), await room.send("beside 2 3600000", "allow")
    await room.begun(beside)
    last = await room.send("last 1 0", "interrupt")
    assert await room.end(first, waiting, beside, last) == [*["interruption"] * 3, "completed"]
    assert room.heard(last) == [(ENDLESS, "endless0 "), ("beside 2 3600000", "beside0 ")]
    assert await room.chat.names(waiting.message_id) == ["MessageCreated", "StopRequested", "MessageStopped"]
    for sent in (first, waiting, beside):
        facts, _ = await room.chat.application.facts.stream(sent.message_id, 0, 100)
        (asked,) = [fact for fact in facts if isinstance(fact.envelope.body, StopRequested)]
        assert asked.envelope.body.by == "interruption"
        assert (asked.context.actor.kind, asked.context.causation_id) == ("system", last.created.event_id)


@ON_SQLITE
async def test_of_two_who_interrupt_at_once_the_later_one_is_answered(room):
    first = await room.send(ENDLESS)
    await room.begun(first)
    rivals = await asyncio.gather(*(room.send("rival 3 3600000", "interrupt") for _ in range(3)))
    *earlier, winner = sorted(rivals, key=lambda sent: sent.created.position)
    await room.begun(winner)
    assert await room.end(first, *earlier) == ["interruption"] * 3
    assert await room.task(winner) == ("running", 0)
    await room.stop(winner)
    assert await room.end(winner) == ["user"]


async def test_an_interruption_that_a_crash_came_between_is_made_up_for(open_room):
    async with open_room(with_worker=False) as room:
        running, waiting = await room.send(ENDLESS, "allow"), await room.send()
        context = room.chat.caller().context(None)

        def half_an_answer(staged):
            staged.aggregate.append_chunk(staged.aggregate.start_attempt("dead"), "half ")

        await room.chat.running.ledger.decide(Message, running.message_id, half_an_answer, context)
        last = await room.send("last 1 0", "interrupt")
        later = await room.send("later 1 0", "allow")
    async with open_room(heartbeat=0.1, lease=0.5) as room:
        assert await room.end(running, waiting, last, later) == [*["interruption"] * 2, *["completed"] * 2]
        # Whether or not a worker took it up again before it was asked to end.
        left = (await room.chat.view(running.message_id)).answer
        assert room.heard(last) == ([(ENDLESS, left)] if left else [])


@ON_SQLITE
async def test_an_interruption_counts_though_whoever_interrupted_was_stopped(open_room, monkeypatch):
    monkeypatch.setattr(Interruptions, "committed", lambda interruptions, envelopes: None)
    async with open_room() as room:
        first = await room.send(ENDLESS)
        await room.begun(first)
        last = await room.send(on_busy="interrupt")
        await room.stop(last)
    async with open_room(heartbeat=0.1) as room:
        assert await room.end(first, last) == ["interruption", "user"]


@ON_SQLITE
async def test_an_answer_that_cannot_be_interrupted_keeps_no_other_from_it(open_room, monkeypatch):
    stop_for, refused = Stopping.stop_for, []

    async def refusing_once(stopping, reason, message_id, because_of=None):
        if not refused:
            refused.append(message_id)
            raise LookupError
        await stop_for(stopping, reason, message_id, because_of)

    monkeypatch.setattr(Stopping, "stop_for", refusing_once)
    monkeypatch.setattr("chatledger.application.generation.interruptions.LOOK_INTERVAL", 0.05)
    async with open_room() as room:
        first, second = await room.send(ENDLESS, "allow"), await room.send(ENDLESS, "allow")
        last = await room.send(on_busy="interrupt")
        assert await room.end(first, second, last) == ["interruption", "interruption", "completed"]
        assert refused


# The app's own word


async def configured(chat: Chat, **changes: Any) -> Any:
    context = chat.caller().context(None)
    await chat.application.apps.reconfigure(
        chat.app.app_id, lambda now: msgspec.structs.replace(now, **changes), context
    )
    return await chat.application.views.app(chat.app.app_id)


@ON_SQLITE
async def test_where_the_request_does_not_say_the_app_does(room):
    room.chat.app = await configured(room.chat, on_busy="interrupt")
    first = await room.send(ENDLESS, None)
    await room.begun(first)
    with pytest.raises(ConversationBusyError):
        await room.send(on_busy="reject")
    new = await room.chat.application.repeating.again(room.chat.caller(), first.message_id)
    again = await room.chat.application.sending.send(room.chat.caller(), new)
    again.follower.close()
    assert again.created.body.on_busy == "interrupt"
    assert await room.end(first) == ["interruption"]
    await room.begun(again)
    await room.stop(again)
    view = await room.chat.view(again.message_id)
    assert (view.on_busy, view.parent_id) == ("interrupt", None)


@ON_SQLITE
async def test_completions_take_no_turns(chat):
    app = await chat.new_app("completion")
    new = NewMessage(query="hello", inputs={}, on_busy="queue")
    with pytest.raises(InvalidParameterError) as refusal:
        await chat.application.sending.send(chat.caller(app=app), new)
    assert refusal.value.field == "on_busy"
    context = chat.caller().context(None)
    configuration = AppConfiguration(generator="scripted", on_busy="queue")
    with pytest.raises(InvalidParameterError) as refusal:
        await chat.application.apps.create("completion", "demo", configuration, context)
    assert refusal.value.field == "on_busy"
    with pytest.raises(InvalidParameterError) as refusal:
        await chat.application.apps.configure(app.app_id, configuration, context)
    assert refusal.value.field == "on_busy"


@ON_SQLITE
async def test_suggestions_rest_on_what_the_answer_had_read(open_chat, monkeypatch):
    asked = []

    async def write(model, request):
        asked.append(request)
        return "[]"

    monkeypatch.setattr("chatledger.application.commands.suggesting.write_text", write)
    async with open_chat() as chat:
        chat.app = await chat.new_app(suggestions='["Why?"]')
        chat.app = await configured(chat, suggested_questions_after_answer=Switch(enabled=True))
        first = await chat.send("tokens=2 interval_ms=3600000")
        first.follower.close()
        second = await chat.send("text=second", conversation=first.conversation_id, on_busy="queue")

        async def has_begun():
            return (await chat.names(first.message_id))[-1] == "AnswerChunkAppended"

        await until(has_begun)
        await chat.application.stopping.stop(chat.caller(), first.task_id)
        await chat.to_the_end(second)
        await chat.application.suggesting.suggest(chat.caller(), second.message_id)
    (request,) = asked
    assert "t0" in str(request)
