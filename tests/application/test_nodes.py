"""Two nodes on one ledger: by whose clock they go, and what they do while the queue is away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.tables import LEASES
from chatledger.adapters.queue.in_process import InProcessTaskQueue
from chatledger.application.background import Background
from chatledger.application.commands.new_message import Sent
from chatledger.application.generation.taking import take_or_look
from chatledger.application.generation.worker import Worker
from chatledger.application.grace import Grace
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.neighbours import Neighbours
from chatledger.application.ports.queue import Delivery, QueueItem, TaskQueue
from chatledger.application.system_clock import SystemClock
from tests.application.chat import DEADLINE, Chat, until, worker_like
from tests.contracts.items import an_item
from tests.support.databases import ON_POSTGRES

pytestmark = ON_POSTGRES

OFF = timedelta(minutes=10)


def wrong_clock(off: timedelta) -> type[SystemClock]:
    class WrongClock(SystemClock):
        def now(self) -> datetime:
            return super().now() + off

    return WrongClock


async def seconds_left(chat: Chat, message_id: UUID) -> float | None:
    """Of the lease on a message, by the clock of the database."""
    now = sa.literal_column("extract(epoch FROM clock_timestamp())::float8")
    query = sa.select(LEASES.c.expires_at / 1e6 - now).where(LEASES.c.message_id == message_id)
    return await chat.running.reader.query(lambda c: c.execute(query).scalar())


@pytest.mark.parametrize("off", [-OFF, OFF], ids=["behind", "ahead"])
async def test_a_node_whose_clock_is_wrong_is_neither_fenced_out_nor_waited_for(open_node, monkeypatch, off):
    async with AsyncExitStack() as stack:
        # One that sweeps by the right time, and one that answers by a wrong one.
        right = await stack.enter_async_context(open_node("a", with_worker=False))
        monkeypatch.setattr("chatledger.bootstrap.core.SystemClock", wrong_clock(off))
        wrong = await stack.enter_async_context(open_node("b"))
        sent = await wrong.send("tokens=20 interval_ms=20")
        batches = wrong.batches(sent)
        await wrong.first_text(batches)
        assert 0 < await seconds_left(right, sent.message_id) <= wrong.settings.lease
        async for _ in batches:
            pass
        assert (await right.view(sent.message_id)).attempt == 1


@pytest.mark.nats
async def test_what_is_sent_while_nats_is_away_is_answered_once_and_does_not_wait_for_it(open_node, new_nats):
    with new_nats() as server:
        over_nats = {"queue": "nats", "nats_url": [server.url]}
        serving, answering = open_node("a", with_worker=False, **over_nats), open_node("b", **over_nats)
        async with serving as asked, answering as worker:
            assert (await asked.answered("tokens=2")).state == "completed"
            server.kill()
            sent = [await asked.send("tokens=2") for _ in range(3)]
            for one in sent:
                await asked.to_the_end(one)
            assert worker.running.worker._queue.is_away
            server.start()
            await until(lambda: asyncio.sleep(0, not worker.running.worker._queue.is_away))
            sent.append(await asked.send("tokens=2"))
            await asked.to_the_end(sent[-1])
            for one in sent:
                names = await asked.names(one.message_id)
                assert [names.count(name) for name in ("GenerationStarted", "MessageCompleted")] == [1, 1]


class MovingQueue(InProcessTaskQueue):
    """One that goes away when a test says so."""

    is_away = False


class FailingQueue(InProcessTaskQueue):
    """One whose first takers fail."""

    failures = 2

    async def take(self, most: int) -> Sequence[Delivery]:
        if self.failures:
            self.failures -= 1
            raise RuntimeError
        return await super().take(most)


@asynccontextmanager
async def shared_worker(
    chat: Chat, queue: TaskQueue, *, concurrency: int = 1
) -> AsyncIterator[tuple[Worker, asyncio.Event]]:
    """In the place of the chat's own, and whether it has ended taking: from this queue, which tests put work into."""
    await chat.running.worker.drain(Grace(0))
    settings = {"name": "shared", "is_alone": False, "concurrency": concurrency, "heartbeat": 0.01}
    worker = worker_like(chat.running.worker, queue, **settings)
    ended = asyncio.Event()

    async def run() -> None:
        await worker.run()
        ended.set()

    async with Background() as background:
        background.start(run)
        try:
            yield worker, ended
        finally:
            await worker.drain(Grace(0))


def work_of(sent: Sent) -> QueueItem:
    return an_item(sent.message_id, task_id=sent.task_id, conversation_id=sent.conversation_id)


async def test_whoever_fails_at_what_other_nodes_have_done_keeps_it_from_nobody(chat, caplog):
    def fail(_changes: Sequence[Envelope]) -> None:
        raise RuntimeError

    heard, ledger = list[Envelope](), chat.running.ledger
    observers = (fail, heard.extend)
    neighbours = Neighbours(ledger._store, ledger._codec, 0, observers=observers, forget=(), wake=())
    await neighbours.look()
    assert chat.app.app_id in {change.stream_id for change in heard}
    assert "RuntimeError" in caplog.text


async def test_the_less_room_a_worker_has_the_less_it_takes_at_once(chat):
    for places, at_once in ((1, 1), (15, 1), (16, 2), (64, 8), (2_000, 8)):
        queue, room = InProcessTaskQueue(), partial(asyncio.sleep, 0, places)
        for _ in range(10):
            await queue.publish(an_item())
        taking = take_or_look(queue, chat.application.views, chat.application.clock, room, interval=DEADLINE)
        async with aclosing(taking):
            assert len(await anext(taking)) == at_once


async def test_a_worker_looks_for_itself_only_while_the_queue_is_away(open_chat):
    async with open_chat(with_worker=False) as chat:
        queue, sent = MovingQueue(), [await chat.send() for _ in range(3)]
        room, views, clock = partial(asyncio.sleep, 0, 1), chat.application.views, chat.application.clock
        taking = take_or_look(queue, views, clock, room, interval=0.01)
        async with asyncio.timeout(DEADLINE), aclosing(taking):
            published = an_item()
            for is_away in (False, True, False):
                queue.is_away = is_away
                if is_away:
                    found = [(await anext(taking))[0].item for _ in sent[:2]]
                    assert [item.message_id for item in found] == [one.message_id for one in sent[:2]]
                else:
                    waiting = asyncio.ensure_future(anext(taking))
                    await asyncio.wait({waiting}, timeout=0.1)
                    await queue.publish(published)
                    assert [delivery.item for delivery in await waiting] == [published]
            queue.is_away = True
            await queue.stop_taking()
            assert await anext(taking, None) is None


async def test_a_worker_goes_on_looking_though_it_has_one_place_and_has_used_it(open_chat):
    queue = MovingQueue()
    async with open_chat() as chat, shared_worker(chat, queue):
        sent = [await chat.send() for _ in range(3)]
        await queue.publish(work_of(sent[0]))
        await chat.to_the_end(sent[0])
        queue.is_away = True
        for one in sent:
            await chat.to_the_end(one)


async def test_what_comes_while_a_worker_has_no_room_is_left_to_others(open_chat):
    queue, item = MovingQueue(), an_item()
    async with open_chat() as chat, shared_worker(chat, queue):
        queue.is_away = True
        batches = chat.batches(await chat.send("tokens=1000 interval_ms=20"))
        await chat.first_text(batches)
        queue.is_away = False
        await queue.publish(item)
        await asyncio.sleep(0)  # in which whoever had asked before would get it
        async with asyncio.timeout(DEADLINE):
            assert [delivery.item for delivery in await queue.take(8)] == [item]


async def test_whoever_fails_at_taking_keeps_no_place(open_chat, monkeypatch):
    monkeypatch.setattr("chatledger.application.background.RESTART_PAUSE", 0.01)
    queue = FailingQueue()
    async with open_chat() as chat, shared_worker(chat, queue):
        sent = await chat.send()
        await queue.publish(work_of(sent))
        await chat.to_the_end(sent)


async def test_a_worker_that_is_drained_takes_no_more_though_all_its_places_were_taken(open_chat):
    queue = InProcessTaskQueue()
    async with open_chat() as chat, shared_worker(chat, queue, concurrency=2) as (worker, ended):
        sent = [await chat.send("tokens=1000 interval_ms=20") for _ in range(2)]
        for one in sent:
            await queue.publish(work_of(one))
            await chat.first_text(chat.batches(one))
        await worker.drain(Grace(0))
        async with asyncio.timeout(DEADLINE):
            await ended.wait()
