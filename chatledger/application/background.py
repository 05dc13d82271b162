"""What runs beside the use cases."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Self

from chatledger.application.fault_report import describe

log = logging.getLogger(__name__)

RESTART_PAUSE = 1.0


class Background:
    """Owns what runs beside the use cases. Work that fails unexpectedly is logged and begun again."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run each of these until it returns, or until the end."""
        self._tasks += [asyncio.create_task(_keep_running(begin)) for begin in work]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _keep_running(begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            return await begin()
        except Exception as error:  # noqa: BLE001 - what runs in the background has nobody else to tell
            log.critical("begun again: %s", describe(error))
            await asyncio.sleep(RESTART_PAUSE)
