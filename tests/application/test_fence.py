"""Two workers on one ledger: a lease that is kept keeps the other away, and who comes back late writes nothing more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial

import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.tables import LEASES
from chatledger.adapters.queue.in_process import InProcessTaskQueue
from chatledger.application.commands.new_message import NewMessage
from chatledger.application.context import SYSTEM, Context
from chatledger.application.generation.dispatch import Sweeper, item_of
from chatledger.application.generation.offering import Offering
from chatledger.application.generation.worker import Worker
from chatledger.application.grace import Grace
from chatledger.application.ledger.envelope import from_microseconds
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.generator import Finish, Text
from chatledger.application.ports.storage import StorageUnavailableError, Update
from chatledger.application.ports.views import UnfinishedTask
from chatledger.domain.events import TERMINAL_EVENTS, GenerationStarted
from chatledger.domain.message import Message
from tests.application.chat import DEADLINE, Chat, text_of, until, words, worker_like
from tests.contracts.items import listen
from tests.support.databases import ON_SQLITE

TOKENS = 40
SLOW = f"tokens={TOKENS} interval_ms=25 vary_by_attempt=true"


@asynccontextmanager
async def another_worker(chat: Chat) -> AsyncIterator[Worker]:
    """Beside the chat's own, with a queue and a sweeper of its own: it gets nothing but what nobody works on."""
    first = chat.running.worker
    queue = InProcessTaskQueue()
    worker = worker_like(first, queue, name="another")
    sweeper = sweeper_of(chat, queue, first._clock)
    chat.running.writer.observe(worker.committed)
    work = [asyncio.create_task(each()) for each in (worker.run, worker.keep_leases, sweeper.run)]
    try:
        yield worker
    finally:
        await worker.drain(Grace(0))
        for each in work:
            each.cancel()
        await asyncio.gather(*work, return_exceptions=True)


def sweeper_of(chat: Chat, queue: InProcessTaskQueue, clock: Clock) -> Sweeper:
    application, settings = chat.application, chat.settings
    return Sweeper(
        chat.running.ledger,
        application.views,
        Offering(queue),
        application.stopping,
        clock,
        interval=settings.heartbeat,
        timeout=settings.generation_timeout,
    )


async def stands_still():
    """A heart that does not beat."""


async def fails():
    raise StorageUnavailableError("the disk is full")


@pytest.mark.parametrize("beat", [stands_still, fails])
async def test_a_worker_that_renews_no_lease_is_taken_over_and_fenced_out(open_chat, beat, caplog):
    caplog.set_level("INFO", "chatledger")
    async with open_chat(lease=30, heartbeat=0.1) as chat, another_worker(chat) as other:

        async def generate(request):
            for number in range(TOKENS):
                if (request.attempt, number) == (1, TOKENS // 2):
                    await until(lambda: asyncio.sleep(0, request.message_id in other._running))
                yield Text(f"a{request.attempt}t{number} ")
                await asyncio.sleep(0.01)

        chat.running.worker._beat = beat
        chat.running.worker._generators["scripted"].generate = generate
        sent = await chat.send()
        batches = chat.batches(sent)
        seen = await chat.first_text(batches)
        await chat.running.ledger.keep(Update("leases", {"message_id": sent.message_id}, {"expires_at": 0}))
        async for batch in batches:
            seen += batch
        await until(lambda: asyncio.sleep(0, not chat.running.worker._tasks))
        events, view = await chat.events(sent.message_id), await chat.view(sent.message_id)
    started = [event for event in events if isinstance(event.body, GenerationStarted)]
    assert [event.body.worker for event in started] == [chat.running.worker._settings.name, other._settings.name]
    taken_over = started[1].version
    assert {event.body.attempt for event in events if event.version > taken_over} == {2}
    assert text_of(seen) == view.answer == words(2, TOKENS)
    assert sum(isinstance(event.body, TERMINAL_EVENTS) for event in events) == 1
    assert f"task {sent.task_id}: fenced out" in caplog.messages


async def test_a_task_is_offered_when_its_lease_ends_and_not_before(quick_leases):
    async with quick_leases() as chat:
        chat.running.worker._beat = stands_still
        sent = await chat.send(SLOW)
        await chat.first_text(chat.batches(sent))
        (ends,) = await leases(chat)
        queue = InProcessTaskQueue()
        clock = StoppedClock(ends - 1)
        sweeper = sweeper_of(chat, queue, clock)
        assert await sweeper.sweep() == 0
        clock.microseconds = ends
        assert await sweeper.sweep() == 1
        item = (await anext(listen(queue))).item
        assert (item.message_id, item.attempt) == (sent.message_id, 1)


@ON_SQLITE
async def test_a_node_offers_what_it_has_put_back_itself_and_nothing_else(open_chat):
    async with open_chat(with_worker=False) as chat:
        queue = InProcessTaskQueue()
        sweeper = sweeper_of(chat, queue, chat.application.clock)
        chat.running.writer.observe(sweeper.committed)
        following = asyncio.create_task(sweeper.follow())
        sent = [await chat.send() for _ in range(4)]
        context = Context(actor=SYSTEM, correlation_id=chat.application.new_id())

        def put_back(staged):
            attempt = staged.aggregate.start_attempt("told to go")
            staged.aggregate.requeue(attempt, "handed_over", "", chat.application.clock.now())

        async with asyncio.timeout(DEADLINE), aclosing(listen(queue)) as deliveries:
            for one in (sent[2], sent[1]):
                await chat.running.ledger.decide(Message, one.message_id, put_back, context)
                assert (await anext(deliveries)).item.message_id == one.message_id
        following.cancel()


@ON_SQLITE
async def test_the_next_attempt_waits_until_the_one_before_has_ended_here(open_chat):
    async with open_chat(heartbeat=60, lease=300) as chat:  # no sweep is in time
        await chat.running.worker.drain(Grace(0))
        sent = await chat.send(SLOW)
        async with another_worker(chat) as worker:
            batches = chat.batches(sent)
            await chat.first_text(batches)
            (first,) = worker._running.values()
            task = UnfinishedTask(
                task_id=sent.task_id,
                message_id=sent.message_id,
                conversation_id=sent.conversation_id,
                mode="chat",
                state="running",
                attempt=1,
            )
            assert await worker._queue.publish(item_of(task, "GenerationRequeued")) is True
            await until(lambda: asyncio.sleep(0, not worker._queue._waiting))  # it has been delivered
            first.leave()
            async for _ in batches:
                pass
            view = await chat.view(sent.message_id)
    assert (view.state, view.attempt, view.answer) == ("completed", 2, words(2, TOKENS))


class StoppedClock:
    def __init__(self, microseconds: int) -> None:
        self.microseconds = microseconds

    def now(self):
        return from_microseconds(self.microseconds)


async def leases(chat: Chat) -> list[int]:
    """When the leases end that are there."""
    return await chat.running.reader.query(lambda c: list(c.execute(sa.select(LEASES.c.expires_at)).scalars()))


@pytest.mark.parametrize("lease", [2.0, 7.0])
async def test_a_lease_is_as_long_as_the_setting_says(open_chat, lease):
    async with open_chat(lease=lease) as chat:
        chat.running.worker._beat = stands_still
        sent = await chat.send(SLOW)
        seen = await chat.first_text(chat.batches(sent))
        (ends,) = await leases(chat)
        (began,) = [event.recorded_at for event in seen if isinstance(event.body, GenerationStarted)]
        assert (ends - began) / 1_000_000 == pytest.approx(lease, abs=0.9)


@pytest.mark.parametrize(("heartbeat", "beats"), [(0.05, True), (100.0, False)])
async def test_a_heart_beats_as_often_as_the_setting_says(open_chat, heartbeat, beats):
    async with open_chat(lease=200, heartbeat=heartbeat) as chat:
        sent = await chat.send(SLOW)
        batches = chat.batches(sent)
        await chat.first_text(batches)
        before = await leases(chat)
        async for _ in batches:
            if beats and await leases(chat) != before:
                break
            assert beats or await leases(chat) in ([], before)
        else:
            assert not beats


# What comes in the middle of a generation and is no newer attempt


async def rate(chat: Chat, message_id, task_id):
    await chat.application.rating.rate(chat.caller(), message_id, "like", "well said")


async def save(chat: Chat, message_id, task_id):
    await chat.application.saving.save(chat.caller(), message_id)


async def rate_and_withdraw(chat: Chat, message_id, task_id):
    await rate(chat, message_id, task_id)
    await chat.application.rating.rate(chat.caller(), message_id, None, None)


async def stop(chat: Chat, message_id, task_id):
    await chat.application.stopping.stop(chat.caller(), task_id)


async def all_at_once(chat: Chat, message_id, task_id):
    await asyncio.gather(*(each(chat, message_id, task_id) for each in (rate, save, stop)))


LEFT_ALONE = {"rate": rate, "save": save, "rate and withdraw": rate_and_withdraw}
ENDED = {"stop": stop, "all at once": all_at_once}


@pytest.mark.parametrize("is_awaited", [True, False], ids=["committed before the next word", "while words come"])
async def test_what_comes_between_disturbs_nothing(open_chat, is_awaited):
    """Each of these, before each of these words."""
    offsets = (0, 1, 2, TOKENS // 2, TOKENS - 1, TOKENS)
    async with open_chat(flush_interval_ms=0) as chat:
        interruptions: list[asyncio.Task[None]] = []

        async def generate(request):
            name, _, offset = request.query.rpartition(" ")
            interrupt = (LEFT_ALONE | ENDED)[name]
            task_id = (await chat.running.ledger.read(request.message_id))[0].body.task_id
            for number in range(TOKENS + 1):
                if number == int(offset):
                    interruptions.append(asyncio.create_task(interrupt(chat, request.message_id, task_id)))
                    if is_awaited:
                        await asyncio.shield(interruptions[-1])
                if number < TOKENS:
                    yield Text(f"a{request.attempt}t{number} ")
                    await asyncio.sleep(0.002)
            yield Finish("stop")

        chat.running.worker._generators["scripted"].generate = generate
        cases = [(name, offset) for name in (*LEFT_ALONE, *ENDED) for offset in offsets]
        sent = await asyncio.gather(*map(partial(ask, chat), cases))
        seen = await asyncio.gather(*map(chat.to_the_end, sent))
        await asyncio.gather(*interruptions)
        for (name, offset), one, events in zip(cases, sent, seen, strict=True):
            view, names = await chat.view(one.message_id), await chat.names(one.message_id)
            case = f"{name} before word {offset}"
            assert text_of(events) == view.answer, case
            assert view.attempt == 1, case
            if name in LEFT_ALONE:
                assert (view.state, view.answer) == ("completed", words(1, TOKENS)), case
            else:
                assert words(1, TOKENS).startswith(view.answer), case
                assert view.state in {"stopped", "completed"}, case
                if is_awaited:
                    assert (view.state, view.answer) == ("stopped", words(1, offset)), case
                else:
                    assert view.state == "stopped" or view.answer == words(1, TOKENS), case
            assert (view.feedback == "like") == (name in {"rate", "all at once"}), case
            assert ("MessageSaved" in names) == (name in {"save", "all at once"}), case
            assert sum(found in {"MessageCompleted", "MessageStopped", "MessageErrored"} for found in names) == 1, case


async def ask(chat: Chat, case: tuple[str, int]):
    name, offset = case
    new = NewMessage(query=f"{name} {offset}", inputs={})
    return await chat.application.sending.send(chat.caller(), new)
