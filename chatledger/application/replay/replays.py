"""Replaying a message or a conversation: the same things in the same order, at the recorded pace or any other."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal
from uuid import UUID

import msgspec

from chatledger.application.accepting import MAX_PAGE
from chatledger.application.errors import NotFoundError
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.envelope import Envelope, Fact
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.storage import EventRow, LedgerReading
from chatledger.application.ports.views import Views
from chatledger.application.queries.fact_pages import FactPages
from chatledger.application.replay.showing import Screen, Shown
from chatledger.domain.events import TERMINAL_EVENTS, MessageCreated, MessageEvent
from chatledger.domain.message import Message
from chatledger.domain.values import Usage

LONGEST_IDLE = 2_000_000
"""Microseconds. Where nothing was being answered, nobody waits longer: people take hours from question to question."""

Subject = Literal["message", "conversation"]


class Told(msgspec.Struct, frozen=True):
    """A message as it stood, and what it came to.

    Attributes:
        usage: of its terminal event, if it has one with a usage.
        is_erased: what was asked and answered is gone.
    """

    message: Message
    usage: Usage | None
    is_erased: bool


class Replays:
    """Reads what is on the ledger, for whoever runs the process."""

    def __init__(self, ledger: LedgerReading, codec: EventCodec, views: Views) -> None:
        self._ledger = ledger
        self._codec = codec
        self._views = views
        self._pages = FactPages(ledger, codec, views)

    async def subject(self, stream_id: UUID) -> Subject:
        """What an id is the id of.

        Raises:
            NotFoundError: of no message and no conversation.
        """
        first = await self._ledger.stream(stream_id, list, limit=1)
        match [row.category for row in first]:
            case ["message"]:
                return "message"
            case ["conversation"]:
                return "conversation"
            case _:
                raise NotFoundError("message")

    async def subject_at(self, stream_id: UUID, up_to: int) -> Subject:
        """What an id was the id of at a position.

        Raises:
            NotFoundError: of no message and no conversation, or of none yet.
        """
        subject = await self.subject(stream_id)
        if not await self._ledger.stream(stream_id, list, limit=1, up_to=up_to):
            raise NotFoundError(subject)
        return subject

    async def shown(self, stream_id: UUID, up_to: int) -> AsyncGenerator[tuple[Shown, bool], None]:
        """What clients were shown of it up to a position, and after each whether something was still being answered.

        Raises:
            NotFoundError: it is no message and no conversation.
        """
        screens: dict[UUID, Screen] = {}
        async for envelope in self._envelopes(stream_id, up_to):
            if isinstance(envelope.body, MessageEvent):
                if isinstance(envelope.body, MessageCreated):
                    screens[envelope.stream_id] = Screen(envelope.stream_id)
                screen = screens.get(envelope.stream_id)
                if screen is None:
                    # It has ended. What comes after that, a rating perhaps, is shown nowhere.
                    continue
                things = screen.show(envelope)
                if not screen.is_busy:
                    del screens[envelope.stream_id]
                for thing in things:
                    yield thing, bool(screens)

    async def _envelopes(self, stream_id: UUID, up_to: int) -> AsyncIterator[Envelope]:
        subject = await self.subject(stream_id)
        after, has_more = 0, True
        while has_more:
            page: Sequence[Fact]
            if subject == "message":
                page, has_more = await self._pages.stream(stream_id, after, MAX_PAGE)
            else:
                page, has_more = await self._pages.conversation(stream_id, after, MAX_PAGE)
            for fact in page:
                envelope = fact.envelope
                if envelope.position > up_to:
                    return
                after = envelope.version if subject == "message" else envelope.position
                yield envelope

    async def message_ids(self, stream_id: UUID, up_to: int) -> list[UUID]:
        """The message, or those of the conversation that were sent up to a position, oldest first.

        Raises:
            NotFoundError: it is no message and no conversation.
        """
        if await self.subject_at(stream_id, up_to) == "message":
            return [stream_id]
        found: list[UUID] = []
        after = 0
        while begun := await self._views.begun(stream_id, after, MAX_PAGE):
            found += [each.message_id for each in begun if each.position <= up_to]
            after = begun[-1].position
            if after > up_to:
                break
        return found

    async def told(self, message_id: UUID, up_to: int) -> Told:
        """A message as it stood at a position."""

        def fold(rows: Sequence[EventRow]) -> Told:
            message, usage, is_erased = Message(message_id), None, False
            for envelope in self._codec.decode_all_or_erased(rows):
                if isinstance(envelope.body, MessageEvent):
                    message.fold_on([envelope.body])
                is_erased = is_erased or envelope.is_erased
                if isinstance(envelope.body, TERMINAL_EVENTS):
                    usage = getattr(envelope.body, "usage", None)
            return Told(message, usage, is_erased)

        return await self._ledger.stream(message_id, fold, up_to=up_to)


async def paced(
    shown: AsyncIterator[tuple[Shown, bool]],
    speed: float | None,
    clock: Clock,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncGenerator[Shown, None]:
    """The same things, each after as long as it took: at so many times that pace; None is at once."""
    began, recorded, last, was_busy = clock.monotonic(), 0, None, False
    async for thing, is_busy in shown:
        if speed is not None and last is not None:
            waited = thing.at - last
            recorded += waited if was_busy else min(waited, LONGEST_IDLE)
            await sleep(max(0.0, began + recorded / 1_000_000 / speed - clock.monotonic()))
        last, was_busy = thing.at, is_busy
        yield thing
