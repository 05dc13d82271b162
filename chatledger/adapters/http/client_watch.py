"""Whether a client is still there."""

import asyncio
from collections.abc import Callable
from typing import Self

from litestar.types import Receive

WATCH_AFTER = 0.25
"""Seconds."""


class ClientWatch:
    """Looks out for the client's going while inside. What is over sooner than it begins to spares the task.

    Attributes:
        has_gone: whether the client has closed the connection.
    """

    __slots__ = ("_on_going", "_receive", "_task", "_timer", "has_gone")

    def __init__(self, receive: Receive, on_going: Callable[[], None]) -> None:
        """Nothing may read the request's body any more. ``on_going`` is called once."""
        self.has_gone = False
        self._receive = receive
        self._on_going = on_going
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._begin)
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self.has_gone = True
        self._on_going()
