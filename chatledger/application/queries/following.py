"""Following a message: every committed event once, in order, whatever happens in between."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self
from uuid import UUID

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ledger.tail import Tail
from chatledger.application.ports.queue import LiveBus
from chatledger.domain.events import TERMINAL_EVENTS

SILENCE = 1.0
"""Seconds after which a follower reads the ledger by itself: a lost notice costs no more than this."""


class Follower:
    """Subscribes when it is made, reads the ledger after that, and joins the two by version: no gap, no repeat."""

    def __init__(self, message_id: UUID, ledger: Ledger, tail: Tail, bus: LiveBus) -> None:
        self._message_id = message_id
        self._ledger = ledger
        self._tail = tail
        self._subscription = ExitStack()
        self._subscription.enter_context(tail.follow(message_id))
        self._listener = bus.listen(message_id)
        self._is_closed = False
        self._subscription.callback(bus.stop_listen, message_id, self._listener)

    async def batches(self, after: int = 0, known: Sequence[Envelope] = ()) -> AsyncGenerator[Sequence[Envelope], None]:
        """The events after a version, in batches as they were committed, up to the terminal event.

        Each second without news gives an empty batch, so that the caller can do what time demands. ``known`` are the
        first of these events, where the caller has them already.
        """
        batch: Sequence[Envelope] = known or await self._ledger.read(self._message_id, after)
        version = after
        while True:
            if batch:
                version = batch[-1].version
            yield batch
            if any(isinstance(envelope.body, TERMINAL_EVENTS) for envelope in batch):
                return
            told = await self._listener.wait(SILENCE)
            if self._is_closed:
                return
            newer = self._tail.after(self._message_id, version)
            if newer is None or not (newer or told):
                newer = await self._ledger.read(self._message_id, version)
            batch = newer

    def close(self) -> None:
        """Unsubscribe. Whoever still waits for a batch is told within a second that there is none."""
        self._is_closed = True
        self._subscription.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Following:
    """Makes followers."""

    def __init__(self, ledger: Ledger, tail: Tail, bus: LiveBus) -> None:
        self._ledger = ledger
        self._tail = tail
        self._bus = bus

    def follow(self, message_id: UUID) -> Follower:
        """Begin to follow a message, which need not exist yet. The caller closes the follower."""
        return Follower(message_id, self._ledger, self._tail, self._bus)
