"""Two nodes on one ledger: by whose clock they go, and what they do while the queue is away."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.tables import LEASES
from chatledger.adapters.queue.in_process import InProcessTaskQueue
from chatledger.application.generation.taking import listen_or_look
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.neighbours import Neighbours
from chatledger.application.system_clock import SystemClock
from tests.application.chat import Chat, until
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
    is_away = False


async def test_whoever_fails_at_what_other_nodes_have_done_keeps_it_from_nobody(chat, caplog):
    def fail(_changes: Sequence[Envelope]) -> None:
        raise RuntimeError

    heard, ledger = list[Envelope](), chat.running.ledger
    observers = (fail, heard.extend)
    neighbours = Neighbours(ledger._store, ledger._codec, 0, observers=observers, forget=(), wake=())
    await neighbours.look()
    assert chat.app.app_id in {change.stream_id for change in heard}
    assert "RuntimeError" in caplog.text


async def test_a_worker_looks_for_itself_only_while_the_queue_is_away(open_chat):
    async with open_chat(with_worker=False) as chat:
        queue, sent = MovingQueue(), [await chat.send() for _ in range(2)]
        listening = listen_or_look(queue, chat.application.views, chat.application.clock, interval=0.01)
        async with asyncio.timeout(20), aclosing(listening) as deliveries:
            published = an_item()
            for is_away in (False, True, False):
                queue.is_away = is_away
                if is_away:
                    found = [(await anext(deliveries)).item for _ in sent]
                    assert [item.message_id for item in found] == [one.message_id for one in sent]
                else:
                    waiting = asyncio.ensure_future(anext(deliveries))
                    await asyncio.wait({waiting}, timeout=0.1)
                    await queue.publish(published)
                    assert (await waiting).item == published
            queue.is_away = True
            await queue.stop_listen()
            assert await anext(deliveries, None) is None


async def test_what_comes_just_as_a_worker_ends_is_put_back(open_chat):
    async with open_chat(with_worker=False) as chat:
        queue, item = MovingQueue(), an_item()
        await chat.send()
        queue.is_away = True
        listening = listen_or_look(queue, chat.application.views, chat.application.clock, interval=0.01)
        await anext(listening)  # found; meanwhile something comes
        await queue.publish(item)
        await until(lambda: asyncio.sleep(0, not queue._waiting))
        await listening.aclose()
        async with aclosing(queue.listen()) as deliveries, asyncio.timeout(20):
            assert (await anext(deliveries)).item == item
