"""What other nodes commit, for those in this process who have to hear of it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.writer import Observer, tell
from chatledger.application.ports.storage import LedgerReading, StorageUnavailableError

log = logging.getLogger(__name__)

PACE = 0.03
"""Seconds from one look to the next, at least."""
SILENCE = 1.0
"""Seconds after which it looks though nobody told of anything."""
MOST = 10_000
"""Positions that are looked through. Whoever missed more forgets all that it remembers."""


class Neighbours:
    """Follows the ledger by its changes: what apps, people and webhooks have come to, and what was erased.

    Nothing of what is said is read. A commit of this process's own may be told again.

    Args:
        position: where the ledger ended before anybody here remembered anything.
        observers: are told of the changes, as the writer tells them of commits of this process.
        forget: let go of all that is remembered.
        wake: are told where the ledger ends, each time that it has grown.
    """

    def __init__(
        self,
        ledger: LedgerReading,
        codec: EventCodec,
        position: int,
        *,
        observers: Sequence[Observer],
        forget: Sequence[Callable[[], None]],
        wake: Sequence[Callable[[int], None]],
    ) -> None:
        self._ledger = ledger
        self._codec = codec
        self._known = position
        self._observers = observers
        self._forget = forget
        self._wake = wake
        self._news = asyncio.Event()

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events of this process: where nobody else's came before them, they are known."""
        if envelopes[0].position == self._known + 1:
            self._known = envelopes[-1].position

    def hear(self) -> None:
        """Somebody has committed something. To be called in the event loop."""
        self._news.set()

    async def run(self) -> None:
        """Look whenever there is news, and in silence too."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENCE):
                    await self._news.wait()
            self._news.clear()
            try:
                await self.look()
            except StorageUnavailableError:
                log.info("what other nodes do is not known for now: the store is in trouble")
            await asyncio.sleep(PACE)

    async def look(self) -> None:
        """Tell of what came since the last look.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        known = self._known
        head, changes = await self._ledger.changes(self._codec.decode_known, after=known, most=MOST)
        if head <= known:
            return
        self._known = max(self._known, head)
        if changes is None:
            for forget in self._forget:
                forget()
        elif changes:
            for observe in self._observers:
                tell(observe, changes)
        for wake in self._wake:
            wake(head)
