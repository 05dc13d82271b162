"""The notary: follows the ledger, keeps its tree's tiles, and signs a checkpoint now and then."""

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import suppress

from chatledger.application.audit.delivering import CheckpointDelivery
from chatledger.application.audit.notarizing import Notarizing
from chatledger.application.audit.tiles import TILE_WIDTH
from chatledger.application.context import SYSTEM, Context
from chatledger.application.errors import LedgerInconsistentError
from chatledger.application.fault_report import describe
from chatledger.application.grace import Grace
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.clock import Clock, IdFactory
from chatledger.application.ports.storage import StorageUnavailableError

log = logging.getLogger(__name__)

PACE = 1.0
"""Seconds. Under load tiles gather so long before they are kept."""

SECONDS_AT_THE_END = 5.0
"""For the sink to take the last checkpoint; else it gets it when the ledger is opened next."""


class NotaryProcess:
    """A process manager. All that it knows is on disk, so it may be killed at any moment.

    Args:
        interval: seconds from one checkpoint to the next, when there is something new; 0 for none but those asked for.
    """

    def __init__(
        self,
        notarizing: Notarizing,
        delivery: CheckpointDelivery | None,
        clock: Clock,
        new_id: IdFactory,
        *,
        interval: float,
    ) -> None:
        self._notarizing = notarizing
        self._delivery = delivery
        self._clock = clock
        self._new_id = new_id
        self._interval = interval or math.inf
        self._is_full = asyncio.Event()
        self._full_at = 0
        self._looked_at = 0
        self._due_at = clock.monotonic() + self._interval

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        if envelopes[-1].position >= self._full_at:
            self._is_full.set()

    async def run(self) -> None:
        """Follow the ledger. Who writes to it in another process is noticed when the next checkpoint is due."""
        while True:
            await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience()):
                    await self._is_full.wait()
            if self._is_full.is_set():
                await asyncio.sleep(PACE)
                self._is_full.clear()

    def _patience(self) -> float | None:
        return None if math.isinf(self._due_at) else max(0.0, self._due_at - self._clock.monotonic())

    async def close(self, grace: Grace) -> None:
        """Sign what is new, and have it kept outside, as far as the grace allows."""
        await grace.wait_for(self._finish())

    async def _look(self) -> None:
        is_due = self._clock.monotonic() >= self._due_at
        if is_due:
            self._due_at = self._clock.monotonic() + self._interval
        try:
            size = await self._notarizing.keep_tiles()
            self._full_at = (size // TILE_WIDTH + 1) * TILE_WIDTH
            if is_due and size != self._looked_at:
                await self._sign(size)
        except StorageUnavailableError as error:
            log.warning("notary: the store is in trouble: %s", error)

    async def _sign(self, size: int) -> None:
        """A refusal reads every leaf, so the same ledger is not looked at again by itself."""
        context = Context(actor=SYSTEM, correlation_id=self._new_id())
        try:
            self._looked_at = (await self._notarizing.checkpoint(context)).size
        except LedgerInconsistentError:
            self._looked_at = size

    async def _finish(self) -> None:
        try:
            size = await self._notarizing.keep_tiles()
            if not math.isinf(self._interval):
                await self._sign(size)
            if self._delivery is not None:
                async with asyncio.timeout(SECONDS_AT_THE_END):
                    await self._delivery.deliver()
        except Exception as error:  # noqa: BLE001 - what cannot be signed now is signed when the ledger is opened next
            log.warning("notary: no checkpoint at the end: %s", describe(error))
