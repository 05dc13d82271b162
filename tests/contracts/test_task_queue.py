"""What every task queue promises."""

import asyncio
from contextlib import aclosing

import msgspec
import pytest

from chatledger.application.ports.queue import QueueFullError, QueueItem, TaskQueue
from tests.contracts.conftest import LEASE
from tests.contracts.items import an_item, listen


async def take(queue: TaskQueue, count: int) -> list[QueueItem]:
    taken: list[QueueItem] = []
    async with aclosing(listen(queue)) as items:
        async for delivery in items:
            taken.append(delivery.item)
            delivery.done()
            if len(taken) == count:
                break
    return taken


async def take_all(queue: TaskQueue, into: "asyncio.Queue[QueueItem]") -> None:
    async for delivery in listen(queue):
        into.put_nowait(delivery.item)
        delivery.done()


async def test_first_in_first_out(open_queue) -> None:
    queue = await open_queue()
    items = [an_item() for _ in range(5)]
    for item in items:
        assert await queue.publish(item) is True
    assert await take(queue, 5) == items


async def test_many_are_taken_at_once_and_never_more_than_was_asked_for(open_queue) -> None:
    queue, taken = await open_queue(), []
    items = [an_item() for _ in range(7)]
    for item in items:
        await queue.publish(item)
    async with asyncio.timeout(10):
        while len(taken) < len(items):
            deliveries = await queue.take(3)
            assert 1 <= len(deliveries) <= 3
            for delivery in deliveries:
                taken.append(delivery.item)
                delivery.done()
    assert taken == items


async def test_an_item_arrives_whole(open_queue) -> None:
    queue = await open_queue()
    item = an_item(
        mode="agent-chat", event="GenerationRequeued", source="application", version=7, attempt=2, dispatch=3
    )
    await queue.publish(item)
    assert await take(queue, 1) == [item]


async def test_the_same_work_waits_once(open_queue) -> None:
    queue = await open_queue()
    item = an_item()
    assert await queue.publish(item) is True
    assert await queue.publish(item) is False
    assert await queue.publish(msgspec.structs.replace(item, version=9, event="StopRequested")) is False
    assert await take(queue, 1) == [item]


async def test_another_attempt_or_dispatch_is_other_work(open_queue) -> None:
    queue = await open_queue()
    item = an_item()
    others = [msgspec.structs.replace(item, attempt=1), msgspec.structs.replace(item, dispatch=1)]
    assert [await queue.publish(one) for one in (item, *others)] == [True, True, True]
    assert await take(queue, 3) == [item, *others]


async def test_what_was_taken_may_be_published_again(open_queue) -> None:
    queue = await open_queue()
    item = an_item()
    for _ in range(3):
        assert await queue.publish(item) is True
        assert await take(queue, 1) == [item]


async def test_what_is_put_back_comes_again(open_queue) -> None:
    queue = await open_queue()
    item, others = an_item(), [an_item() for _ in range(2)]
    async with asyncio.timeout(20), aclosing(listen(queue)) as deliveries:
        await queue.publish(item)
        first = await anext(deliveries)
        first.put_back(0.05)
        for other in others:
            await queue.publish(other)
        after = [await anext(deliveries) for _ in range(3)]
        for delivery in after:
            delivery.done()
    assert first.item == item
    assert sorted(delivery.item.task_id for delivery in after) == sorted(one.task_id for one in (item, *others))


async def test_past_the_bound_work_is_refused_and_taking_makes_room(open_queue) -> None:
    queue = await open_queue(bound=2)
    items = [an_item() for _ in range(3)]
    await queue.publish(items[0])
    await queue.publish(items[1])
    with pytest.raises(QueueFullError):
        await queue.publish(items[2])
    assert await queue.publish(items[0]) is False
    assert await take(queue, 1) == items[:1]
    assert await queue.publish(items[2]) is True
    assert await take(queue, 2) == items[1:]


async def test_a_waiting_listener_gets_what_comes(open_queue) -> None:
    queue = await open_queue()
    taken: asyncio.Queue[QueueItem] = asyncio.Queue()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(take_all(queue, taken))
        await asyncio.sleep(0)
        item = an_item()
        await queue.publish(item)
        assert await taken.get() == item
        await queue.stop_taking()


async def test_listeners_share_the_work(open_queue) -> None:
    queue = await open_queue()
    items, taken, all_busy = [an_item() for _ in range(3)], [], asyncio.Barrier(3)

    async def work() -> None:
        async for delivery in listen(queue):
            taken.append(delivery.item)
            delivery.done()
            # Opens once each of them holds one.
            if await all_busy.wait() == 0:
                await queue.stop_taking()

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(work())
        for item in items:
            await queue.publish(item)
    assert sorted(item.task_id for item in taken) == sorted(item.task_id for item in items)


async def test_each_item_goes_to_one_listener(open_queue) -> None:
    queue = await open_queue()
    items, taken = [an_item() for _ in range(60)], asyncio.Queue()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(take_all(queue, taken))
        for item in items:
            await queue.publish(item)
        found = [await taken.get() for _ in items]
        await queue.stop_taking()
    assert sorted(item.task_id for item in found) == sorted(item.task_id for item in items)
    assert taken.empty()


async def test_a_listener_that_is_cancelled_takes_nothing_with_it(open_queue) -> None:
    queue = await open_queue()
    item = an_item()
    leaving = asyncio.create_task(take(queue, 1))
    await asyncio.sleep(0)
    leaving.cancel()
    await queue.publish(item)
    with pytest.raises(asyncio.CancelledError):
        await leaving
    async with asyncio.timeout(10):
        assert await take(queue, 1) == [item]


async def test_a_listener_that_is_cancelled_when_work_comes_takes_nothing_with_it(open_queue) -> None:
    queue = await open_queue()
    item = an_item()
    leaving = asyncio.create_task(take(queue, 1))
    await asyncio.sleep(0)
    await queue.publish(item)
    leaving.cancel()
    taken = (await asyncio.gather(leaving, return_exceptions=True))[0]
    async with asyncio.timeout(10):
        # It may have been done with it, over a network.
        assert (taken if isinstance(taken, list) else await take(queue, 1)) == [item]


async def test_stop_taking_ends_those_that_wait_and_those_that_work(open_queue) -> None:
    queue = await open_queue()
    item, has_taken, may_go_on, ended = an_item(), asyncio.Event(), asyncio.Event(), asyncio.Queue()

    async def work() -> None:
        async for _ in listen(queue):
            has_taken.set()
            await may_go_on.wait()
        ended.put_nowait("worker")

    async def wait() -> None:
        async for _ in listen(queue):
            pytest.fail("took something")
        ended.put_nowait("waiter")

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(work())
        await queue.publish(item)
        await has_taken.wait()
        tasks.create_task(wait())
        await asyncio.sleep(0)
        await queue.stop_taking()
        assert await ended.get() == "waiter"
        may_go_on.set()
        assert await ended.get() == "worker"


async def test_stop_taking_loses_nothing_of_what_was_not_taken(open_queue) -> None:
    queue = await open_queue()
    items, taken = [an_item() for _ in range(3)], []
    for item in items:
        await queue.publish(item)
    async with asyncio.timeout(10):
        async for delivery in listen(queue):
            taken.append(delivery.item)
            delivery.done()
            await queue.stop_taking()
    assert taken == items[:1]
    # Waiting still: the same work is not accepted a second time, what was taken is.
    assert [await queue.publish(item) for item in items] == [True, False, False]


async def test_whoever_listens_after_the_end_gets_nothing(open_queue) -> None:
    queue = await open_queue()
    await queue.publish(an_item())
    await queue.stop_taking()
    await queue.stop_taking()
    taken: asyncio.Queue[QueueItem] = asyncio.Queue()
    async with asyncio.timeout(10):
        await take_all(queue, taken)
    assert taken.empty()


# Between processes


async def test_work_is_taken_by_whichever_process_listens(open_process) -> None:
    async with asyncio.timeout(20), open_process() as here, open_process() as there:
        taken: asyncio.Queue[QueueItem] = asyncio.Queue()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(take_all(there.tasks, taken))
            for _ in range(3):
                item = an_item()
                await here.tasks.publish(item)
                assert await taken.get() == item
            await there.tasks.stop_taking()


async def test_the_same_work_waits_once_for_all_processes(open_process) -> None:
    item = an_item()
    async with open_process() as here, open_process() as there:
        assert [await one.tasks.publish(item) for one in (here, there, here)] == [True, False, False]
        assert await take(there.tasks, 1) == [item]
        # Once the queue has heard that it is done.
        async with asyncio.timeout(10):
            while not await here.tasks.publish(item):  # noqa: ASYNC110 - the queue tells nobody
                await asyncio.sleep(0.01)


async def test_each_item_goes_to_one_process(open_process) -> None:
    items, taken = [an_item() for _ in range(40)], asyncio.Queue()
    async with asyncio.timeout(20), open_process() as here, open_process() as there, asyncio.TaskGroup() as tasks:
        for one in (here, there):
            tasks.create_task(take_all(one.tasks, taken))
        for item in items:
            await here.tasks.publish(item)
        found = [await taken.get() for _ in items]
        for one in (here, there):
            await one.tasks.stop_taking()
    assert sorted(item.task_id for item in found) == sorted(item.task_id for item in items)
    assert taken.empty()


async def test_what_a_process_has_taken_is_its_own_for_longer_than_the_lease(open_process) -> None:
    first, second = an_item(), an_item()
    async with (
        asyncio.timeout(20),
        open_process() as here,
        open_process() as there,
        aclosing(listen(here.tasks)) as mine,
    ):
        await here.tasks.publish(first)
        held = await anext(mine)
        taken: asyncio.Queue[QueueItem] = asyncio.Queue()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(take_all(there.tasks, taken))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(taken.get(), 3 * LEASE)
            held.put_back(0)
            assert await taken.get() == first
            await there.tasks.publish(second)
            assert await taken.get() == second
            await there.tasks.stop_taking()
    assert taken.empty()


async def test_what_a_process_that_ends_had_taken_another_gets(open_process) -> None:
    items = [an_item() for _ in range(2)]
    async with asyncio.timeout(20), open_process() as there:
        async with open_process() as here, aclosing(listen(here.tasks)) as mine:
            for item in items:
                await here.tasks.publish(item)
            (await anext(mine)).done()
            assert (await anext(mine)).item == items[1]
        assert await take(there.tasks, 1) == items[1:]


async def test_work_outlives_the_process_that_published_it(open_process) -> None:
    item = an_item()
    async with open_process() as here:
        await here.tasks.publish(item)
    async with asyncio.timeout(20), open_process() as there:
        assert await take(there.tasks, 1) == [item]
