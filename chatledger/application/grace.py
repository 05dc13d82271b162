"""The time that what is at work has, once chatledger is told to close."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Grace:
    """One stretch of time for all that waits in it: it begins with the first who does, and ends once.

    Args:
        seconds: how long it is.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Let it run, if it does not yet."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.seconds, self._over.set)

    def end(self) -> None:
        """Wait no longer, however much of it is left."""
        self._over.set()

    async def wait_for(self, work: Coroutine[Any, Any, object]) -> None:
        """Until this is done, or the grace is over; then it is cancelled."""
        self.begin()
        working, over = asyncio.create_task(work), asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait((working, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, over):
                task.cancel()
            await asyncio.wait((working, over))
