"""The events of a message or a conversation, page by page, with who did it and why."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec

from chatledger.application.accepting import MAX_PAGE, accept_number
from chatledger.application.context import Context
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.envelope import Envelope, Fact
from chatledger.application.ports.storage import EventRow, LedgerReading
from chatledger.application.ports.views import Views
from chatledger.application.queries.listening import require_recorded

_decode_context = msgspec.json.Decoder(Context).decode


class FactPages:
    """Reads the ledger for whoever may. Of what was erased it gives what is public."""

    def __init__(self, ledger: LedgerReading, codec: EventCodec, views: Views) -> None:
        self._ledger = ledger
        self._codec = codec
        self._views = views

    async def is_conversation(self, stream_id: UUID) -> bool:
        """Whether an id is a conversation's, whatever became of it."""
        first = await self._ledger.stream(stream_id, list, limit=1)
        return bool(first) and first[0].category == "conversation"

    async def require_version(self, stream_id: UUID, version: int) -> None:
        """Pass where a stream has come so far.

        Raises:
            InvalidParameterError: it has not.
        """
        head = await self._ledger.stream_head(stream_id)
        require_recorded(version, 0 if head is None else head.version)

    async def stream(self, stream_id: UUID, after: int, limit: int) -> tuple[Sequence[Fact], bool]:
        """Up to ``limit`` events of any stream after a version, and whether more follow.

        Raises:
            InvalidParameterError: a page is not that long.
        """
        accept_number("limit", limit, 1, MAX_PAGE)
        envelopes = await self._ledger.stream(stream_id, self._codec.decode_all_or_erased, after=after, limit=limit + 1)
        return await self._facts(envelopes[:limit]), len(envelopes) > limit

    async def conversation(self, conversation_id: UUID, after: int, limit: int) -> tuple[Sequence[Fact], bool]:
        """Up to ``limit`` events of a conversation and its messages after a position of the ledger, in its order.

        Raises:
            InvalidParameterError: a page is not that long.
        """
        accept_number("limit", limit, 1, MAX_PAGE)
        rows = await self._rows(conversation_id, after, limit + 1)
        envelopes = await asyncio.to_thread(self._codec.decode_all_or_erased, rows[:limit])
        return await self._facts(envelopes), len(rows) > limit

    async def _rows(self, conversation_id: UUID, after: int, most: int) -> list[EventRow]:
        """The first events after a position, at most so many, up to where the ledger ended when they were looked for.

        They can be of the conversation itself, of a message that was under way at the position or began after it, or
        one that came later than its answer. Messages are read one by one in the order in which they began, until the
        next one began after all that is wanted: so a page costs the same in a conversation of any length.
        """
        head, rows = (await self._ledger.head()).position, dict[int, EventRow]()

        async def read(stream_id: UUID, version: int = 0, limit: int = most) -> None:
            found = await self._ledger.stream(stream_id, list, after=version, limit=limit, beyond=after, up_to=head)
            rows.update((row.position, row) for row in found)
            for position in sorted(rows)[most:]:
                del rows[position]

        await read(conversation_id)
        for event in await self._views.later_events(conversation_id, after, most):
            await read(event.message_id, event.version - 1, 1)
        for message_id in await self._views.under_way(conversation_id, after):
            await read(message_id)
        for begun in await self._views.begun(conversation_id, after, most):
            if len(rows) == most and begun.position > max(rows):
                break
            await read(begun.message_id)
        return [rows[position] for position in sorted(rows)]

    async def _facts(self, envelopes: Sequence[Envelope]) -> Sequence[Fact]:
        contexts = await self._ledger.context_at(envelope.context_position for envelope in envelopes)
        decoded = {position: _decode_context(context) for position, context in contexts.items()}
        return [Fact(envelope, decoded[envelope.context_position]) for envelope in envelopes]
