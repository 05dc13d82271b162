"""What a worker takes: from the queue; while that is away, from the tasks themselves."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from chatledger.application.generation.dispatch import item_of
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.queue import Delivery, QueueItem, TaskQueue
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import Views

FIND_LIMIT = 200
"""Tasks that a worker finds at a look: the others look too, and find the same."""


async def listen_or_look(
    queue: TaskQueue, views: Views, clock: Clock, *, interval: float
) -> AsyncGenerator[Delivery, None]:
    """Take work of a queue, until it ends listening; while it is away, find what is due and nobody works on.

    Several workers may find the same: the ledger lets one of them begin. The ``interval`` is in seconds, more or less,
    from one look to the next: they do not look all at once.
    """
    coming: asyncio.Future[Delivery | None] | None = None
    async with aclosing(queue.listen()) as deliveries:
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(deliveries, None))
                await asyncio.wait({coming}, timeout=interval * random.uniform(0.5, 1.5))  # noqa: S311
                if coming.done():
                    delivery, coming = coming.result(), None
                    if delivery is None:
                        return
                    yield delivery
                elif queue.is_away:
                    for found in await _find(views, clock):
                        yield found
        finally:
            if coming is not None:
                await _let_go(coming)


async def _find(views: Views, clock: Clock) -> Sequence[Delivery]:
    try:
        tasks = await views.unclaimed(to_microseconds(clock.now()), FIND_LIMIT)
    except StorageUnavailableError:
        return ()
    return [_Found(item_of(task, "GenerationRequeued")) for task in tasks]


async def _let_go(coming: "asyncio.Future[Delivery | None]") -> None:
    coming.cancel()
    (delivery,) = await asyncio.gather(coming, return_exceptions=True)
    if delivery is not None and not isinstance(delivery, BaseException):
        delivery.put_back(0)


class _Found(msgspec.Struct, frozen=True):
    item: QueueItem

    def done(self) -> None:
        """Nothing: it is found no more."""

    def put_back(self, delay: float) -> None:
        """Nothing: it is found again."""
