"""How work comes onto the queue: many at a time; of what is refused is said once, and no more is offered then."""

import asyncio

from chatledger.adapters.queue.in_process import InProcessTaskQueue
from chatledger.application.generation import offering
from chatledger.application.generation.offering import AT_ONCE, Offering
from chatledger.application.ports.queue import QueueItem
from tests.contracts.items import an_item
from tests.contracts.test_task_queue import take


class FarAway(InProcessTaskQueue):
    """A queue that answers nobody until so many wait for its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.together = asyncio.Barrier(AT_ONCE)

    async def publish(self, item: QueueItem) -> bool:
        await self.together.wait()
        return await super().publish(item)


async def test_many_are_on_their_way_at_once() -> None:
    items = [an_item() for _ in range(2 * AT_ONCE)]
    queue = FarAway()
    async with asyncio.timeout(10):
        await Offering(queue).offer(items)
        taken = await take(queue, len(items))
    assert {item.task_id for item in taken[:AT_ONCE]} == {item.task_id for item in items[:AT_ONCE]}


async def test_a_queue_that_is_full_is_told_of_once_until_it_takes_all_again(monkeypatch, caplog) -> None:
    queue = InProcessTaskQueue(bound=AT_ONCE)
    offers, refused = Offering(queue), [an_item() for _ in range(3 * AT_ONCE)]
    await offers.offer([an_item()])
    for _ in range(2):
        await offers.offer(refused)
    assert caplog.messages == ["work is left to the sweeper: QueueFullError"]
    await take(queue, AT_ONCE)
    await offers.offer([an_item()])  # just after: it may be full again in a moment
    assert len(caplog.messages) == 1
    monkeypatch.setattr(offering, "CALM", 0)
    await offers.offer(refused)
    await take(queue, AT_ONCE)
    await offers.offer([an_item()])
    assert caplog.messages[1:] == ["all work goes to the queue again"]
