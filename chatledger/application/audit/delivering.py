"""Getting checkpoints out: each to the sink, in their order, until it is taken."""

import asyncio
import logging

import msgspec

from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.notary import CheckpointSink, NotaryStore, SignedCheckpoint, SinkUnavailableError
from chatledger.application.ports.storage import StorageUnavailableError, Update

log = logging.getLogger(__name__)

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0
"""Seconds until a checkpoint that was not taken is offered again; it doubles from the first to the longest."""

SECONDS_FOR_ONE = 30.0
PAGE = 50


class SinkStatus(msgspec.Struct, frozen=True):
    """How far the sink is behind.

    Attributes:
        waiting: how many checkpoints it has not taken.
        since: when the oldest of them was signed, in microseconds since the epoch.
        trouble: why it did not take one; None while it does.
    """

    waiting: int
    since: int | None
    trouble: str | None


class CheckpointDelivery:
    """Offers each checkpoint at least once. A sink that is away holds up nothing but itself."""

    def __init__(self, ledger: Ledger, store: NotaryStore, sink: CheckpointSink, clock: Clock) -> None:
        self._ledger = ledger
        self._store = store
        self._sink = sink
        self._clock = clock
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._trouble: str | None = None

    def wake(self) -> None:
        """There may be a new checkpoint."""
        self._news.set()

    async def status(self) -> SinkStatus:
        """How far the sink is behind."""
        backlog = await self._store.backlog()
        return SinkStatus(backlog.count, backlog.since, self._trouble)

    async def run(self) -> None:
        """Deliver what there is, then what comes."""
        delay = FIRST_DELAY
        while True:
            self._news.clear()
            try:
                await self.deliver()
            except (SinkUnavailableError, StorageUnavailableError):
                await asyncio.sleep(delay)
                delay = min(LONGEST_DELAY, delay * 2)
            else:
                delay = FIRST_DELAY
                await self._news.wait()

    async def deliver(self) -> None:
        """Have everything taken that was not yet.

        Raises:
            SinkUnavailableError: the sink did not take one; the later ones were not offered.
            StorageUnavailableError: the store is in trouble.
        """
        async with self._turn:
            while checkpoints := await self._store.undelivered(PAGE):
                for checkpoint in checkpoints:
                    await self._put(checkpoint)
                    now = to_microseconds(self._clock.now())
                    await self._ledger.keep(Update("checkpoints", {"number": checkpoint.number}, {"delivered_at": now}))

    async def _put(self, checkpoint: SignedCheckpoint) -> None:
        try:
            async with asyncio.timeout(SECONDS_FOR_ONE):
                await self._sink.put(checkpoint)
        except (SinkUnavailableError, TimeoutError) as error:
            reason = str(error) or "it does not answer"
            if self._trouble != reason:
                log.warning("the checkpoint sink took no checkpoint: %s", reason)
            self._trouble = reason
            raise SinkUnavailableError(reason) from error
        if self._trouble is not None:
            log.warning("the checkpoint sink takes checkpoints again")
            self._trouble = None
