"""The past: what the queries of now would have been answered at an earlier position of the ledger.

Few streams are concerned by one answer. They are read up to the position, projected as the live ones were, into read
models of their own, and the same queries are asked there.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import get_args
from uuid import UUID

import msgspec

from chatledger.application.as_of import AsOf, position_of
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.projections import Projections
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.past import PastConversation, PastPlaces, Scratch, Scratches
from chatledger.application.ports.storage import Change, EventRow, LedgerReading
from chatledger.application.ports.views import (
    ConversationOrder,
    FeedbackView,
    Page,
    Period,
    Views,
)
from chatledger.domain.events import MessageEvent
from chatledger.domain.message import Message
from chatledger.domain.values import FeedbackSource

_SIDES = len(get_args(FeedbackSource))
"""How many ratings a message may have."""


LOOKED_AT = 1_000
"""How many conversations a page is sought among: what it has by then is short, and leads on all the same."""


class Then(msgspec.Struct, frozen=True):
    """A part of the past, as far as one question concerns it.

    Attributes:
        views: the read models as they stood.
        messages: the messages as they stood.
        is_cut: there may be more on the page than was looked for.
    """

    views: Views
    messages: Mapping[UUID, Message]
    is_cut: bool = False

    async def load(self, message_id: UUID) -> Message | None:
        """A message as it stood, or None where there was none."""
        return self.messages.get(message_id)


class _Told(msgspec.Struct, frozen=True):
    """What a stream came to: the changes that it made, each with its position, and its message, if it is one's."""

    changes: Sequence[tuple[int, Sequence[Change]]]
    message: Message | None


class Past:
    """Finds the streams that a question concerns, and brings them back."""

    def __init__(
        self,
        store: LedgerReading,
        codec: EventCodec,
        projections: Projections,
        places: PastPlaces,
        scratches: Scratches,
        clock: Clock,
    ) -> None:
        self._store = store
        self._codec = codec
        self._projections = projections
        self._places = places
        self._scratches = scratches
        self._clock = clock

    async def position(self, as_of: AsOf) -> int:
        """The position that a moment stands for.

        Raises:
            InvalidParameterError: it is none, or is yet to come.
        """
        return await position_of(as_of, self._store, self._clock)

    @asynccontextmanager
    async def history(self, conversation_id: UUID, page: Page, position: int) -> AsyncIterator[Then]:
        """A page of a conversation."""
        message_ids = await self._places.messages(conversation_id, page, position)
        async with self._scratches.scratch() as scratch:
            yield await self._brought_back(scratch, [conversation_id, *message_ids], position)

    @asynccontextmanager
    async def message(self, message_id: UUID, position: int) -> AsyncIterator[Then]:
        """A message, and the conversation that it is in."""
        async with self._scratches.scratch() as scratch:
            then = await self._brought_back(scratch, [message_id], position)
            if (message := then.messages.get(message_id)) is not None:
                await self._brought_back(scratch, [message.created.conversation_id], position)
            yield then

    @asynccontextmanager
    async def conversations(
        self,
        app_id: UUID,
        end_user_id: UUID,
        order: ConversationOrder,
        page: Page,
        position: int,
        *,
        pinned: bool | None = None,
    ) -> AsyncIterator[Then]:
        """A page of a person's conversations; a short one where few of many are wanted."""
        places, anchor = self._places, None
        if page.beyond is not None:
            anchor = await places.conversation(end_user_id, page.beyond, order, position)
        async with self._scratches.scratch() as scratch:
            then = await self._with_conversations(scratch, [] if anchor is None else [anchor], position)
            beyond, looked_at, is_cut = None if anchor is None else anchor.place, 0, False
            # Those that were deleted by then, or are not wanted, leave a page short: it is filled up from the next.
            while not is_cut and (anchor is not None or page.beyond is None):
                more = await places.conversations(end_user_id, order, page.limit + 1, position, beyond=beyond)
                await self._with_conversations(scratch, more, position)
                found = await then.views.conversations(app_id, end_user_id, order, page, pinned=pinned)
                if found is None or found[1] or len(more) <= page.limit:
                    break
                beyond, looked_at = more[-1].place, looked_at + len(more)
                # One that nothing is on leads nowhere: then it looks on.
                is_cut = looked_at >= LOOKED_AT and bool(found[0])
            yield Then(then.views, then.messages, is_cut)

    async def feedbacks(
        self, app_id: UUID, period: Period, limit: int, position: int, *, offset: int = 0, beyond: int | None = None
    ) -> list[FeedbackView]:
        """The ratings of an app that stood, newest first; with ``beyond`` those that were given before a position."""
        # Times never fall from one position to the next: a period is a range of positions.
        last = position if beyond is None else min(position, beyond - 1)
        if period.end is not None:
            last = min(last, await self._store.position_at(period.end - 1))
        after = 0 if period.start is None else await self._store.position_at(period.start - 1)
        ratings = await self._places.ratings(app_id, position, limit, after=after, up_to=last, offset=offset)
        wanted = {rating.position for rating in ratings}
        async with self._scratches.scratch() as scratch:
            rated = dict.fromkeys(rating.message_id for rating in ratings)
            then = await self._brought_back(scratch, list(rated), position)
            found = await then.views.feedbacks(app_id, Period(), _SIDES * len(ratings))
            return [feedback for feedback in found if feedback.position in wanted]

    async def _with_conversations(
        self, scratch: Scratch, conversations: Sequence[PastConversation], position: int
    ) -> Then:
        """With the last message of each, which moved it in the list; only that it was sent counts."""
        told = [await self._told(each.conversation_id, position) for each in conversations]
        told += [await self._told(each.last_message_id, position, limit=1) for each in conversations]
        return await self._filled(scratch, told, position)

    async def _brought_back(self, scratch: Scratch, stream_ids: Sequence[UUID], position: int) -> Then:
        return await self._filled(scratch, [await self._told(each, position) for each in stream_ids], position)

    async def _filled(self, scratch: Scratch, told: Sequence[_Told], position: int) -> Then:
        changes = sorted((change for one in told for change in one.changes), key=lambda change: change[0])
        await scratch.apply([change for _, at_once in changes for change in at_once])
        messages = {one.message.id: one.message for one in told if one.message is not None}
        return Then(scratch.views(position), messages)

    async def _told(self, stream_id: UUID, position: int, limit: int | None = None) -> _Told:
        return await self._store.stream(stream_id, partial(self._projected, stream_id), limit=limit, up_to=position)

    def _projected(self, stream_id: UUID, rows: Sequence[EventRow]) -> _Told:
        """The pieces of an answer are let go one by one: what is kept is what they came to."""
        changes: list[tuple[int, Sequence[Change]]] = []
        message = Message(stream_id)
        for row in rows:
            envelope = self._codec.decode_or_erased(row)
            if isinstance(envelope.body, MessageEvent):
                message.fold_on([envelope.body])
            changes.append((row.position, self._projections.changes(envelope, lambda: message)))
        return _Told(changes, message if message.version else None)
