"""Generators that are told to end: whatever their cleanup waits for, a message waits for it only so long."""

import asyncio
import logging

from chatledger.application.fault_report import describe

log = logging.getLogger(__name__)

SECONDS_TO_CLOSE = 1.0
"""What a generator's cleanup has before its message goes on without it."""

MOST_LATE = 1_000
"""Cleanups that may go on by themselves: beyond that the oldest is cancelled again, and forgotten."""


class Closings:
    """Owns the readings of generators that did not close in time."""

    def __init__(self) -> None:
        self._late: dict[asyncio.Task[None], str] = {}

    async def close(self, reading: asyncio.Task[None], generator: str) -> None:
        """Wait until a reading that is over has closed its generator. One that takes too long goes on by itself."""
        try:
            await asyncio.wait([reading], timeout=SECONDS_TO_CLOSE)
        finally:
            if not reading.done():
                self._keep(reading, generator)

    def _keep(self, reading: asyncio.Task[None], generator: str) -> None:
        log.warning("generator %s does not close: its message ends without that", generator)
        if len(self._late) >= MOST_LATE:
            oldest = next(iter(self._late))
            oldest.cancel()
            del self._late[oldest]
        self._late[reading] = generator
        reading.add_done_callback(self._forget)

    def _forget(self, reading: asyncio.Task[None]) -> None:
        generator = self._late.pop(reading, None)
        if not reading.cancelled() and (error := reading.exception()) is not None and generator is not None:
            log.warning("generator %s failed to close: %s", generator, describe(error))

    async def drain(self, seconds: float) -> None:
        """Cancel what is still closing, and wait so long for it."""
        late = list(self._late)
        for reading in late:
            reading.cancel()
        if late:
            await asyncio.wait(late, timeout=seconds)
