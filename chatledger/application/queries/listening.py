"""What all followers have in common: they hear of news, and know where what they follow ends."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self
from uuid import UUID

from chatledger.application.errors import InvalidParameterError
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.queue import LiveBus
from chatledger.application.ports.storage import Head, StorageUnavailableError
from chatledger.domain.events import TERMINAL_EVENTS

SILENCE = 1.0
"""Seconds after which a follower looks at the ledger by itself: a lost notice costs no more than this."""

FRESH = 0.25
"""Seconds that one look at the ledger serves all followers."""

MOMENT = 0.02
"""Seconds in which this process is told of what it has just committed itself."""

EVENTS_AT_ONCE = 200
"""How many events of one message are read off the ledger at once: who is slow holds no more than these."""


class Lookout:
    """Whether anything is on the ledger that this process was not told of: by others, or by a commit in doubt.

    One look serves all followers for a moment, however many there are.

    Attributes:
        is_alone: whether whatever is told on the live bus was committed here: its events are at hand.
        missed: nothing after this position is known to have been missed. It only rises.
    """

    def __init__(self, head: Callable[[], Awaitable[Head]], *, is_alone: bool = True) -> None:
        """``head`` reads where the ledger ends."""
        self._head = head
        self.is_alone = is_alone
        self._told = 0
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._trouble: StorageUnavailableError | None = None
        self.missed = 0

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        before, self._told = self._told, envelopes[-1].position
        if self._told != before + len(envelopes):
            self.missed = self._told

    async def look(self) -> None:
        """Look where the ledger ends, unless somebody did so within :data:`FRESH`.

        Raises:
            StorageUnavailableError: it cannot be read.
        """
        loop = asyncio.get_running_loop()
        needed_at = loop.time()
        async with self._looking:
            if self._looked_at <= needed_at - FRESH:
                began = loop.time()
                await self._look()
                self._looked_at = began
            if self._trouble is not None:
                raise StorageUnavailableError(str(self._trouble))

    async def _look(self) -> None:
        try:
            position = (await self._head()).position
        except StorageUnavailableError as error:
            self._trouble = error
            return
        self._trouble = None
        if position > max(self._told, self.missed):
            await asyncio.sleep(MOMENT)
        if position > self._told:
            self.missed = max(position, self.missed)


class Listening:
    """A place among the listeners of a message or a conversation, taken when it is made and given back once.

    Attributes:
        is_closed: whether it has been given back.
    """

    def __init__(self, subject_id: UUID, bus: LiveBus, held: AbstractContextManager[None], lookout: Lookout) -> None:
        """``held`` is entered, and left with the place."""
        self.is_closed = False
        self._lookout = lookout
        self._none_missed_up_to = lookout.missed
        self._subscription = ExitStack()
        self._subscription.enter_context(held)
        self._listener = bus.listen(subject_id)
        self._subscription.callback(bus.stop_listen, subject_id, self._listener)

    async def news(self) -> bool:
        """Until there is news: True; or until :data:`SILENCE` is over: False.

        Raises:
            StorageUnavailableError: it is over, and the ledger cannot be read.
        """
        told = await self._listener.wait(SILENCE)
        if not (told or self.is_closed):
            await self._lookout.look()
        return told

    def has_come(self, *, told: bool) -> bool:
        """Whether what there is news of has come with it: what another process has committed has to be read."""
        return told and self._lookout.is_alone

    def begin_to_read(self) -> None:
        """What was missed so far is on the ledger, which is read from here on."""
        self._none_missed_up_to = self._lookout.missed

    @property
    def may_have_missed(self) -> bool:
        """Whether there may be what nobody here was told of since it was last read."""
        return self._lookout.missed > self._none_missed_up_to

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
