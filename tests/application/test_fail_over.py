"""Two nodes on one ledger: what one of them does for both, who does it next, and what a late one may not do."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest

from chatledger.adapters.persistence.deliveries import SqlDeliveries
from chatledger.adapters.persistence.search_index import SqlSearchIndex
from chatledger.adapters.persistence.tables import CHECKPOINTS, PROCESS_LEASES
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.subscription import Handler
from chatledger.application.ports.leases import Lease, LeaseLostError
from chatledger.application.ports.search_index import IndexedMessage
from chatledger.application.ports.webhooks import Progress
from chatledger.application.system_clock import new_id
from chatledger.bootstrap.stores import database_of
from chatledger.domain.events import MessageCreated
from tests.application.chat import Chat, until
from tests.support.databases import ON_POSTGRES

pytestmark = ON_POSTGRES


async def holders(chat: Chat) -> dict[str, str]:
    """Which node does what."""
    rows = await chat.running.reader.query(lambda c: c.execute(PROCESS_LEASES.select()).all())
    return {row.name: row.holder.partition(":")[0] for row in rows if row.expires_at}


async def led_by(chat: Chat, node: str, count: int) -> None:
    """All that there is to be done is done by this node."""

    async def is_so() -> bool:
        return Counter((await holders(chat)).values()) == {node: count}

    await until(is_so)


async def checkpoints(chat: Chat) -> list[tuple[int, int]]:
    query = CHECKPOINTS.select().order_by(CHECKPOINTS.c.number)
    return await chat.running.reader.query(lambda c: [(row.number, row.size) for row in c.execute(query)])


async def test_a_node_that_closes_hands_everything_over_and_only_who_leads_signs_at_its_end(open_node):
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        a = await first.enter_async_context(open_node("a", shutdown_grace=10))
        await led_by(a, "a", 4)
        await a.answered()
        head = a.running.ledger.head_position
        b = await second.enter_async_context(open_node("b"))
        await first.aclose()
        signed = await checkpoints(b)
        assert [size >= head for _, size in signed] == [True]
        await led_by(b, "b", 4)
        c = await first.enter_async_context(open_node("c", shutdown_grace=10))
        await c.answered()
        await first.aclose()
        assert await checkpoints(b) == signed  # c led nothing, so it signed nothing


async def test_a_handler_gets_each_event_on_one_node_and_the_other_goes_on_where_it_ended(open_node):
    seen: dict[str, list[int]] = {"a": [], "b": []}

    def handler(node: str) -> Handler:
        async def handle(fact) -> None:
            if isinstance(fact.envelope.body, MessageCreated):
                seen[node].append(fact.envelope.position)

        return Handler(name="mail", handle=handle, since="first")

    async with AsyncExitStack() as first:
        a = await first.enter_async_context(open_node("a", handlers=[handler("a")]))
        async with open_node("b", handlers=[handler("b")]) as b:
            await a.answered()
            await b.answered()
            for chat in (a, b):
                await chat.running.subscriptions["mail"].caught_up()
            assert sorted(map(len, seen.values())) == [0, 2]
            await first.aclose()
            await b.answered()
            await b.running.subscriptions["mail"].caught_up()
    assert [len(seen[node]) for node in "ab"] == [2, 1]


async def test_who_leads_erases_for_any_node_and_does_what_a_killed_one_left_undone(open_node, monkeypatch):
    for module in ("deleted_conversations", "interruptions"):
        monkeypatch.setattr(f"chatledger.application.generation.{module}.LOOK_INTERVAL", 0.05)
    async with open_node("a") as a:
        await led_by(a, "a", 4)
        async with open_node("b", with_worker=False) as b:
            view = await b.answered()
            person = (await b.application.history.message(b.caller(), view.message_id)).end_user_id
            context = Context(actor=SYSTEM, correlation_id=new_id())
            await b.application.erasing.request(person, context)
            erased = await b.application.erasing.until_done(person, 15)
            assert erased.erased_position is not None
            b.running.writer._observers.clear()  # as if it were killed right after each commit
            deleted = await b.send("tokens=1000 interval_ms=20")
            interrupted = await b.send("tokens=1000 interval_ms=20")

            async def is_running() -> bool:
                return all(["GenerationStarted" in await b.names(one.message_id) for one in (deleted, interrupted)])

            await until(is_running)
            await b.application.deleting.delete(b.caller(), deleted.conversation_id)
            last = await b.send("tokens=2", conversation=interrupted.conversation_id, on_busy="interrupt")

            async def have_ended() -> bool:
                names = [await b.names(one.message_id) for one in (deleted, interrupted, last)]
                return [each[-1] for each in names] == ["MessageStopped", "MessageStopped", "MessageCompleted"]

            await until(have_ended)


async def test_two_notaries_sign_no_fork_and_no_number_twice_even_if_one_stood_still(open_node, monkeypatch):
    async with open_node("a", checkpoint_interval=0) as a, open_node("b", checkpoint_interval=0) as b:
        context = Context(actor=SYSTEM, correlation_id=new_id())
        for _ in range(2):
            await a.answered()
            await asyncio.gather(*(chat.application.notarizing.checkpoint(context) for chat in (a, b, a, b)))
        signed = await checkpoints(a)
        assert [number for number, _ in signed] == list(range(1, len(signed) + 1))
        assert [size for _, size in signed] == sorted({size for _, size in signed})

        await a.answered()
        first = await a.application.notarizing.checkpoint(context)
        await a.answered()
        memory = a.application.notarizing._memory
        remember, frozen, thaw = memory.remember, asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def stands_still(*args, **more):
            loop.call_soon_threadsafe(frozen.set)
            asyncio.run_coroutine_threadsafe(thaw.wait(), loop).result(20)
            return remember(*args, **more)

        monkeypatch.setattr(memory, "remember", stands_still)
        late = asyncio.create_task(a.application.notarizing.checkpoint(context))
        await frozen.wait()
        await b.answered()
        second = await b.application.notarizing.checkpoint(context)
        thaw.set()
        assert await late == second
        assert [size for _, size in await checkpoints(b)][-2:] == [first.size, second.size]
        assert memory.recall(second.origin) == second.note


@asynccontextmanager
async def fenced(chat: Chat) -> AsyncIterator[tuple[Lease, Lease]]:
    """A lease that was lost, and the one that another has."""
    posts = {name: Lease("late", name, token) for token, name in enumerate("ab", 1)}
    with chat.running.store.write() as transaction:
        row = {"name": "late", "holder": "b", "token": 2, "expires_at": 2**62}
        transaction.connection.execute(PROCESS_LEASES.insert().values(row))
    yield posts["a"], posts["b"]


async def test_a_late_courier_saves_no_progress_and_a_late_indexer_puts_nothing_of_the_erased_back(open_node):
    async with open_node("a", with_worker=False, search=False) as chat, fenced(chat) as (lost, held):
        running, endpoint = chat.running, new_id()
        open_deliveries = partial(SqlDeliveries, running.store._writer, running.reader, running.writer.run_alone)
        late, present = open_deliveries(lambda: lost), open_deliveries(lambda: held)
        await present.begin(endpoint, 0)
        await present.save(endpoint, Progress(position=30), [], [], revision=0)
        with pytest.raises(LeaseLostError):
            await late.save(endpoint, Progress(position=20), [], [], revision=0)
        assert (await present.begin(endpoint, 0)).progress == Progress(position=30)

        database = database_of(chat.settings)
        late, present = (SqlSearchIndex(database.beside("search"), lambda lease=lease: lease) for lease in (lost, held))
        ledger, erased = new_id(), new_id()
        said = IndexedMessage(1, new_id(), erased, frozenset([7]))
        await present.begin(ledger, 1)
        await present.put([said], (), 1)
        await present.put((), [erased], 2)
        for write in (late.put([said], (), 1), late.begin(new_id(), 1)):
            with pytest.raises(LeaseLostError):
                await write
        assert await present.find([7], None, 10) == []
        assert await present.begin(ledger, 1) == 2
        await late.close()
        await present.close()
