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
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.domain.events import TERMINAL_EVENTS

SILENCE = 1.0
"""Seconds after which a follower reads the ledger by itself: a lost notice costs no more than this."""


class Follower:
    """Subscribes when it is made, reads the ledger after that, and joins the two by version: no gap, no repeat.

    Attributes:
        version: the last one that it has read, which may be one that came after the terminal event.
        has_ended: whether it has read the terminal event.
    """

    def __init__(self, message_id: UUID, ledger: Ledger, tail: Tail, bus: LiveBus, closing: asyncio.Event) -> None:
        self._message_id = message_id
        self._ledger = ledger
        self._tail = tail
        self._closing = closing
        self._subscription = ExitStack()
        self._subscription.enter_context(tail.follow(message_id))
        self._listener = bus.listen(message_id)
        self.version = 0
        self.has_ended = False
        self._is_closed = False
        self._subscription.callback(bus.stop_listen, message_id, self._listener)

    async def batches(self, after: int = 0, known: Sequence[Envelope] = ()) -> AsyncGenerator[Sequence[Envelope], None]:
        """The events after a version, in batches as they were committed, up to the terminal event.

        After that one, and after what came later (a rating, say), there are none.

        Each second without news gives an empty batch, so that the caller can do what time demands. ``known`` are the
        first of these events, where the caller has them already. Where chatledger closes they end without a terminal
        event, within a second; by an error, where the store is in trouble.

        Raises:
            InvalidParameterError: the stream has no such version.
            StorageUnavailableError: nothing gets on record for now.
        """
        batch: Sequence[Envelope] = known or await self._ledger.read(self._message_id)
        self.version = len(batch)
        require_recorded(after, self.version)
        batch, self.has_ended = _up_to_end(batch)
        batch = batch[after:]
        while True:
            yield batch
            if self.has_ended:
                return
            told = await self._listener.wait(SILENCE)
            if self._is_closed:
                return
            newer = self._tail.after(self._message_id, self.version)
            if newer is None or not (newer or told):
                if self._closing.is_set():
                    return
                newer = await self._ledger.read(self._message_id, self.version)
                if not newer and (trouble := self._ledger.trouble) is not None:
                    raise StorageUnavailableError(trouble)
            if newer:
                self.version = newer[-1].version
            batch, self.has_ended = _up_to_end(newer)

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


def require_recorded(after: int, latest: int) -> None:
    """Let a version pass that a stream has, whose latest version this is.

    Raises:
        InvalidParameterError: there is no such version.
    """
    if not 0 <= after <= latest:
        raise unknown_point()


def _up_to_end(envelopes: Sequence[Envelope]) -> tuple[Sequence[Envelope], bool]:
    """These up to the terminal event, and whether that is among them."""
    for number, envelope in enumerate(envelopes, 1):
        if isinstance(envelope.body, TERMINAL_EVENTS):
            return envelopes[:number], True
    return envelopes, False


def unknown_point() -> InvalidParameterError:
    """What to say where somebody would go on from a point that a stream has not got."""
    return InvalidParameterError("after", "the stream has no such point to go on from")
