"""What the queue and the bus on PostgreSQL do when a process dies, and when the database is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chatledger.adapters.queue.postgres_link import PostgresLink
from chatledger.adapters.queue.postgres_tasks import PostgresTaskQueue
from chatledger.application.ports.queue import QueueFullError, QueueItem, QueueUnavailableError, TaskQueue
from chatledger.bootstrap.queues import postgres_queues
from tests.contracts.items import an_item, listen
from tests.contracts.test_task_queue import take, take_all
from tests.support.databases import connection_to
from tests.support.server import until
from tests.support.toxic import ToxicProxy

pytestmark = pytest.mark.postgres

LEASE = 0.2


async def die_of_the_next(url: str, deliveries: int = 10) -> QueueItem:
    """Take work as a process does that dies of it: neither is its lease renewed nor anything let go of."""
    link = PostgresLink(url)
    queue = PostgresTaskQueue(link, lease=LEASE, deliveries=deliveries)
    running = asyncio.create_task(queue.run())
    async with asyncio.timeout(20):
        item = (await anext(listen(queue))).item
    running.cancel()
    await asyncio.wait([running])
    await link.close()
    return item


async def until_left(url: str, rows: int) -> None:
    async def are_left() -> bool:
        with connection_to(url) as connection:
            return bool(connection.exec_driver_sql("SELECT count(*) FROM queued_tasks").scalar_one() == rows)

    await until(are_left)


class Counting(PostgresLink):
    """Counts the statements, and those which count what waits."""

    statements = counts = 0

    async def run(self, statement, parameters):
        self.statements += 1
        self.counts += parameters.get("room") is None
        return await super().run(statement, parameters)


async def test_many_are_offered_at_once_and_what_waits_is_not_counted_each_time(queue_database: str) -> None:
    link = Counting(queue_database)
    queue = PostgresTaskQueue(link, lease=LEASE, bound=200)
    items = [an_item() for _ in range(64)]
    async with asyncio.timeout(20):
        assert all(await asyncio.gather(*map(queue.publish, items)))
        assert not any(await asyncio.gather(*map(queue.publish, items)))
        twice = [an_item()] * 2
        assert sorted(await asyncio.gather(*map(queue.publish, twice))) == [False, True]
        assert link.statements <= 6
        assert link.counts < link.statements
        many = [an_item() for _ in range(200)]
        outcomes = await asyncio.gather(*map(queue.publish, many), return_exceptions=True)
    assert outcomes[:135] == [True] * 135
    assert all(isinstance(outcome, QueueFullError) for outcome in outcomes[135:])
    await link.close()


async def test_many_that_wait_are_taken_in_one_statement(queue_database: str) -> None:
    link, items = Counting(queue_database), [an_item() for _ in range(8)]
    queue = PostgresTaskQueue(link, lease=LEASE)
    async with asyncio.timeout(20):
        await asyncio.gather(*map(queue.publish, items))
        taking = asyncio.create_task(queue.take(8))
        await asyncio.sleep(0)
        link.statements = 0
        await queue._take()
        taken = [delivery.item.task_id for delivery in await taking]
    assert sorted(taken) == sorted(item.task_id for item in items)
    assert link.statements == 1
    await link.close()


async def test_what_a_dead_process_had_taken_is_delivered_again(queue_database: str) -> None:
    item = an_item()
    async with asyncio.timeout(20), postgres_queues(queue_database, lease=LEASE) as queues:
        await queues.tasks.publish(item)
        assert await die_of_the_next(queue_database) == item
        assert await take(queues.tasks, 1) == [item]


async def test_what_processes_die_of_is_left_out_at_last_and_may_be_published_again(queue_database: str) -> None:
    deadly = an_item()
    link = PostgresLink(queue_database)
    queue = PostgresTaskQueue(link, lease=LEASE, deliveries=2)
    await queue.publish(deadly)
    for _ in range(2):
        assert await die_of_the_next(queue_database, deliveries=2) == deadly
    running = asyncio.create_task(queue.run())
    taken: asyncio.Queue[QueueItem] = asyncio.Queue()
    listening = asyncio.create_task(take_all(queue, taken))
    async with asyncio.timeout(20):
        await until_left(queue_database, 0)
        assert taken.empty()
        assert await queue.publish(deadly) is True
        assert await taken.get() == deadly
        await queue.stop_taking()
        await listening
    running.cancel()
    await asyncio.wait([running])
    await link.close()


async def test_what_a_process_that_ends_had_taken_is_let_go_of_at_once(queue_database: str) -> None:
    item = an_item()
    async with asyncio.timeout(20), postgres_queues(queue_database, lease=60) as others:
        async with postgres_queues(queue_database, lease=60) as leaving:
            await leaving.tasks.publish(item)
            await anext(listen(leaving.tasks))
        assert await take(others.tasks, 1) == [item]


async def test_a_row_that_another_process_is_taking_is_passed_by(queue_database: str) -> None:
    items = [an_item() for _ in range(2)]
    async with asyncio.timeout(20), postgres_queues(queue_database, lease=LEASE) as queues:
        for item in items:
            await queues.tasks.publish(item)
        with connection_to(queue_database) as connection:
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql("SELECT FROM queued_tasks ORDER BY sequence LIMIT 1 FOR UPDATE")
            assert await take(queues.tasks, 1) == items[1:]
            connection.exec_driver_sql("COMMIT")
        assert await take(queues.tasks, 1) == items[:1]


async def test_what_is_done_leaves_no_row(queue_database: str) -> None:
    async with postgres_queues(queue_database, lease=LEASE) as queues:
        for _ in range(3):
            await queues.tasks.publish(an_item())
        await take(queues.tasks, 3)
        await until_left(queue_database, 0)


async def test_what_is_put_back_while_the_same_waits_is_one(queue_database: str) -> None:
    item = an_item()
    async with asyncio.timeout(20), postgres_queues(queue_database, lease=LEASE) as queues:
        await queues.tasks.publish(item)
        held = await anext(listen(queues.tasks))
        assert await queues.tasks.publish(item) is True
        held.put_back(0)
        await until_left(queue_database, 1)
        assert await take(queues.tasks, 1) == [item]


async def test_without_a_word_work_is_found_all_the_same(queue_database: str) -> None:
    item, link = an_item(), PostgresLink(queue_database)
    async with asyncio.timeout(20), postgres_queues(queue_database, lease=LEASE) as queues:
        listening = asyncio.create_task(take(queues.tasks, 1))
        await asyncio.sleep(0.05)
        silent = PostgresTaskQueue(link, lease=LEASE)
        silent._told = "no word that anybody understands"
        await silent.publish(item)
        assert await listening == [item]
    await link.close()


async def test_a_row_of_another_release_is_left_to_its_own(queue_database: str) -> None:
    item = an_item()
    with connection_to(queue_database) as connection:
        connection.exec_driver_sql(
            "INSERT INTO queued_tasks (task_id, attempt, dispatch, item) VALUES (gen_random_uuid(), 0, 0, '{}')"
        )
    async with asyncio.timeout(20), postgres_queues(queue_database, lease=LEASE) as queues:
        await queues.tasks.publish(item)
        assert await take(queues.tasks, 1) == [item]
        await until_left(queue_database, 1)


@asynccontextmanager
async def proxied(url: str, port: int) -> AsyncIterator[tuple[ToxicProxy, str]]:
    async with ToxicProxy(port) as proxy:
        yield proxy, url.replace(f":{port}/", f":{proxy.port}/")


async def unavailable(queue: TaskQueue) -> bool:
    try:
        await queue.publish(an_item())
    except QueueUnavailableError:
        return True
    return False


async def test_a_database_that_is_away_is_told_of_and_waited_for(postgres_server, queue_database: str) -> None:
    async with (
        asyncio.timeout(30),
        proxied(queue_database, postgres_server.port) as (proxy, url),
        postgres_queues(url, lease=LEASE) as queues,
        postgres_queues(queue_database, lease=LEASE) as others,
    ):
        listening = asyncio.create_task(take(queues.tasks, 1))
        told = queues.bus.listen((message := an_item()).message_id)
        await asyncio.sleep(0.05)
        proxy.refuse = True
        proxy.cut()
        assert await unavailable(queues.tasks)
        queues.bus.publish(message)
        assert await told.wait(10) is True
        item = an_item()
        await others.tasks.publish(item)
        proxy.refuse = False
        assert await listening == [item]
        while await unavailable(queues.tasks):  # noqa: ASYNC110 - the state of another process
            await asyncio.sleep(0.01)
        while not await told.wait(0.05):
            others.bus.publish(message)


async def test_a_connection_that_was_lost_while_it_lay_idle_is_replaced_unnoticed(
    postgres_server, queue_database: str
) -> None:
    async with (
        proxied(queue_database, postgres_server.port) as (proxy, url),
        postgres_queues(url, lease=60) as queues,
    ):
        for _ in range(2):
            assert await queues.tasks.publish(an_item()) is True
            proxy.cut()


async def test_what_was_done_while_the_database_was_away_is_settled_later(postgres_server, queue_database: str) -> None:
    async with (
        asyncio.timeout(30),
        proxied(queue_database, postgres_server.port) as (proxy, url),
        postgres_queues(url, lease=20) as queues,
    ):
        await queues.tasks.publish(an_item())
        held = await anext(listen(queues.tasks))
        proxy.refuse = True
        proxy.cut()
        held.done()
        assert await unavailable(queues.tasks)
        proxy.refuse = False
        await until_left(queue_database, 0)


async def test_a_stalled_database_is_not_waited_for(postgres_server, queue_database: str) -> None:
    async with (
        proxied(queue_database, postgres_server.port) as (proxy, url),
        postgres_queues(url, lease=60) as queues,
    ):
        proxy.stall()
        async with asyncio.timeout(20):
            assert await unavailable(queues.tasks)
        proxy.flow()
