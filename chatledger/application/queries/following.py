"""Following a message: every committed event once, in order, whatever happens in between."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self
from uuid import UUID

from chatledger.application.errors import InvalidParameterError
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ledger.tail import Tail
from chatledger.application.ports.queue import LiveBus
from chatledger.domain.events import TERMINAL_EVENTS

SILENCE = 1.0
"""Seconds after which a follower reads the ledger by itself: a lost notice costs no more than this."""


class Follower:
    """Subscribes when it is made, reads the ledger after that, and joins the two by version: no gap, no repeat."""

    def __init__(self, message_id: UUID, ledger: Ledger, tail: Tail, bus: LiveBus, closing: asyncio.Event) -> None:
        self._message_id = message_id
        self._ledger = ledger
        self._tail = tail
        self._closing = closing
        self._subscription = ExitStack()
        self._subscription.enter_context(tail.follow(message_id))
        self._listener = bus.listen(message_id)
        self._is_closed = False
        self._subscription.callback(bus.stop_listen, message_id, self._listener)

    async def batches(self, after: int = 0, known: Sequence[Envelope] = ()) -> AsyncGenerator[Sequence[Envelope], None]:
        """The events after a version, in batches as they were committed, up to the terminal event.

        Each second without news gives an empty batch, so that the caller can do what time demands. ``known`` are the
        first of these events, where the caller has them already. Where chatledger closes they end without a terminal
        event, within a second.

        Raises:
            InvalidParameterError: the stream has no such version.
        """
        batch: Sequence[Envelope] = known or await self._ledger.read(self._message_id)
        require_recorded(after, batch)
        version, has_ended = len(batch), _has_end(batch)
        batch = batch[after:]
        while True:
            yield batch
            if has_ended:
                return
            told = await self._listener.wait(SILENCE)
            if self._is_closed:
                return
            newer = self._tail.after(self._message_id, version)
            if newer is None or not (newer or told):
                if self._closing.is_set():
                    return
                newer = await self._ledger.read(self._message_id, version)
            batch = newer
            if batch:
                version, has_ended = batch[-1].version, _has_end(batch)

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
        self._closing = asyncio.Event()

    def follow(self, message_id: UUID) -> Follower:
        """Begin to follow a message, which need not exist yet. The caller closes the follower."""
        return Follower(message_id, self._ledger, self._tail, self._bus, self._closing)

    def close(self) -> None:
        """End all followers, within a second."""
        self._closing.set()


def require_recorded(after: int, recorded: Sequence[Envelope]) -> None:
    """Let a version pass that a stream has, of which these are all events so far.

    Raises:
        InvalidParameterError: there is no such version.
    """
    if not 0 <= after <= len(recorded):
        raise unknown_point()


def _has_end(envelopes: Sequence[Envelope]) -> bool:
    return any(isinstance(envelope.body, TERMINAL_EVENTS) for envelope in envelopes)


def unknown_point() -> InvalidParameterError:
    """What to say where somebody would go on from a point that a stream has not got."""
    return InvalidParameterError("after", "the stream has no such point to go on from")
