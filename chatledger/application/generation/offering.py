"""How work comes onto the queue: many at a time; what the queue does not take is left to the sweeper."""

import asyncio
import logging
from collections.abc import Sequence

from chatledger.application.ports.queue import QueueFullError, QueueItem, QueueUnavailableError, TaskQueue

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Tasks that are on their way to the queue at the same time."""

CALM = 10.0
"""Seconds without a refusal after which the queue counts as one that takes work again."""


class Offering:
    """Offers work to the queue; says once that not all of it is taken, and once that it is again."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue
        self._is_told = False
        self._calm_at = 0.0

    async def offer(self, items: Sequence[QueueItem]) -> None:
        """Offer all of it, in order, up to the first that are refused."""
        for start in range(0, len(items), AT_ONCE):
            refusals = await asyncio.gather(*map(self._refusal, items[start : start + AT_ONCE]))
            refusal = next(filter(None, refusals), None)
            if refusal is not None:
                self.leave(type(refusal).__name__)
                return
            self._tell_calm()

    def leave(self, reason: str) -> None:
        """Some work is left to the sweeper."""
        self._calm_at = asyncio.get_running_loop().time() + CALM
        if not self._is_told:
            log.warning("work is left to the sweeper: %s", reason)
            self._is_told = True

    def _tell_calm(self) -> None:
        if self._is_told and asyncio.get_running_loop().time() >= self._calm_at:
            log.warning("all work goes to the queue again")
            self._is_told = False

    async def _refusal(self, item: QueueItem) -> QueueFullError | QueueUnavailableError | None:
        try:
            await self._queue.publish(item)
        except (QueueFullError, QueueUnavailableError) as error:
            return error
        return None
