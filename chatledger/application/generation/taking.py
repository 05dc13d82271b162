"""What a worker takes: from the queue; while that is away, from the tasks themselves."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import msgspec

from chatledger.application.generation.dispatch import item_of
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.queue import Delivery, QueueItem, TaskQueue
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import Views

AT_ONCE = 8
"""Tasks that a worker takes at once at most, as one after the other takes long where many come together."""

SHARE = 8
"""The part of its room that it takes at once: of one that has little, more is left to others."""

FIND_LIMIT = 200
"""Tasks that a worker finds at a look: the others look too, and find the same."""

Room = Callable[[], Awaitable[int]]
"""Waits until there is room for a task, and tells for how many."""


async def take_or_look(
    queue: TaskQueue, views: Views, clock: Clock, room: Room, *, interval: float
) -> AsyncGenerator[Sequence[Delivery], None]:
    """Take work of a queue, until it gives no more; while it is away, find what is due and nobody works on.

    Nothing is asked for before there is room for it, nor while what was found is waiting for room: what the queue gives
    is begun, and never kept from others. Several workers may find the same: the ledger lets one of them begin. The
    ``interval`` is in seconds, more or less, from one look to the next: they do not look all at once.
    """
    while True:
        at_once = max(1, min(AT_ONCE, await room() // SHARE))
        try:
            async with asyncio.timeout(interval * random.uniform(0.5, 1.5)):  # noqa: S311
                taken = await queue.take(at_once)
        except TimeoutError:
            for found in await _find(views, clock) if queue.is_away else ():
                await room()
                if not queue.is_away:
                    break
                yield [found]
        else:
            if not taken:
                return
            yield taken


async def _find(views: Views, clock: Clock) -> Sequence[Delivery]:
    try:
        tasks = await views.unclaimed(to_microseconds(clock.now()), FIND_LIMIT)
    except StorageUnavailableError:
        return ()
    return [_Found(item_of(task, "GenerationRequeued")) for task in tasks]


class _Found(msgspec.Struct, frozen=True):
    item: QueueItem

    def done(self) -> None:
        """Nothing: it is found no more."""

    def put_back(self, delay: float) -> None:
        """Nothing: it is found again."""
