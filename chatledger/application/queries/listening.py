"""What all followers have in common: they hear of news, and know where what they follow ends."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self
from uuid import UUID

from chatledger.application.errors import InvalidParameterError
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.queue import LiveBus
from chatledger.domain.events import TERMINAL_EVENTS

SILENCE = 1.0
"""Seconds after which a follower reads the ledger by itself: a lost notice costs no more than this."""


EVENTS_AT_ONCE = 200
"""How many events of one message are read off the ledger at once: who is slow holds no more than these."""


class Listening:
    """A place among the listeners of a message or a conversation, taken when it is made and given back once.

    Attributes:
        is_closed: whether it has been given back.
    """

    def __init__(self, subject_id: UUID, bus: LiveBus, held: AbstractContextManager[None]) -> None:
        """``held`` is entered, and left with the place."""
        self.is_closed = False
        self._subscription = ExitStack()
        self._subscription.enter_context(held)
        self._listener = bus.listen(subject_id)
        self._subscription.callback(bus.stop_listen, subject_id, self._listener)

    async def news(self) -> bool:
        """Until there is news: True; or until :data:`SILENCE` is over: False."""
        return await self._listener.wait(SILENCE)

    def close(self) -> None:
        """Unsubscribe. Whoever still waits for a batch is told within a second that there is none."""
        self.is_closed = True
        self._subscription.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def up_to_end(envelopes: Sequence[Envelope]) -> tuple[Sequence[Envelope], bool]:
    """A message's events up to its terminal one, and whether that is among them."""
    for number, envelope in enumerate(envelopes, 1):
        if isinstance(envelope.body, TERMINAL_EVENTS):
            return envelopes[:number], True
    return envelopes, False


def require_recorded(after: int, latest: int, field: str = "after") -> None:
    """Let a point pass that a stream, or the ledger, has got, whose latest point this is.

    ``field`` is what the caller calls the point.

    Raises:
        InvalidParameterError: there is no such point.
    """
    if not 0 <= after <= latest:
        raise unknown_point(field)


def unknown_point(field: str) -> InvalidParameterError:
    """What to say where somebody would go on from a point that a stream has not got."""
    return InvalidParameterError(field, "the stream has no such point to go on from")
