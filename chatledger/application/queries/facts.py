"""The facts themselves: the events of a message or a conversation, with who did it and why."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec

from chatledger.application.accepting import MAX_PAGE, accept_number
from chatledger.application.audit.reads import ContentReads
from chatledger.application.caller import Auditor, Caller, Ownership, Reader
from chatledger.application.context import Context
from chatledger.application.errors import NotFoundError
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.envelope import Envelope, Fact
from chatledger.application.ports.storage import EventRow, LedgerStore
from chatledger.application.ports.views import Views
from chatledger.application.queries.listening import require_recorded

_decode_context = msgspec.json.Decoder(Context).decode


class Facts:
    """Reads streams as an auditor does. Of what was erased it gives what is public."""

    def __init__(
        self, store: LedgerStore, codec: EventCodec, views: Views, ownership: Ownership, reads: ContentReads
    ) -> None:
        self._store = store
        self._codec = codec
        self._views = views
        self._ownership = ownership
        self._reads = reads

    async def of_message(self, reader: Reader, message_id: UUID, after: int, limit: int) -> tuple[Sequence[Fact], bool]:
        """Up to ``limit`` events of a message after a version, and whether more follow.

        Raises:
            NotFoundError: it is not the reader's, or its conversation is gone and the reader no auditor.
            InvalidParameterError: a page is not that long.
        """
        await self._require_message(reader, message_id)
        await self._reads.note(reader, "message", message_id)
        return await self.stream(message_id, after, limit)

    async def of_conversation(
        self, reader: Reader, conversation_id: UUID, after: int, limit: int
    ) -> tuple[Sequence[Fact], bool]:
        """Up to ``limit`` events of a conversation and its messages after a position of the ledger, in its order.

        Raises:
            NotFoundError: it is not the reader's, or is gone and the reader no auditor.
            InvalidParameterError: a page is not that long.
        """
        accept_number("limit", limit, 1, MAX_PAGE)
        if isinstance(reader, Caller):
            await self._ownership.require_conversation(reader, conversation_id)
        elif not await self._is_conversation(conversation_id):
            raise NotFoundError("conversation")
        await self._reads.note(reader, "conversation", conversation_id)
        rows = await self._rows(conversation_id, after, limit + 1)
        envelopes = await asyncio.to_thread(self._codec.decode_all_or_erased, rows[:limit])
        return await self._facts(envelopes), len(rows) > limit

    async def require_version(self, stream_id: UUID, version: int) -> None:
        """Pass where a stream has come so far.

        Raises:
            InvalidParameterError: it has not.
        """
        head = await self._store.stream_head(stream_id)
        require_recorded(version, 0 if head is None else head.version)

    async def stream(self, stream_id: UUID, after: int, limit: int) -> tuple[Sequence[Fact], bool]:
        """Up to ``limit`` events of any stream after a version, and whether more follow.

        Raises:
            InvalidParameterError: a page is not that long.
        """
        accept_number("limit", limit, 1, MAX_PAGE)
        envelopes = await self._store.stream(stream_id, self._codec.decode_all_or_erased, after=after, limit=limit + 1)
        return await self._facts(envelopes[:limit]), len(envelopes) > limit

    async def _require_message(self, reader: Reader, message_id: UUID) -> None:
        place = await self._views.message_place(message_id)
        if place is None:
            raise NotFoundError("message")
        await self._ownership.require(reader, "message", place.app_id, place.end_user_id)
        if isinstance(reader, Auditor) or place.mode == "completion":
            return
        if await self._views.conversation_place(place.conversation_id) is None:
            raise NotFoundError("message")

    async def _is_conversation(self, stream_id: UUID) -> bool:
        first = await self._store.stream(stream_id, list, limit=1)
        return bool(first) and first[0].category == "conversation"

    async def _rows(self, conversation_id: UUID, after: int, most: int) -> list[EventRow]:
        """The first events after a position, at most so many, up to where the ledger ended when they were looked for.

        They can be of the conversation itself, of a message that was under way at the position or began after it, or
        one that came later than its answer. Messages are read one by one in the order in which they began, until the
        next one began after all that is wanted: so a page costs the same in a conversation of any length.
        """
        head, rows = (await self._store.head()).position, dict[int, EventRow]()

        async def read(stream_id: UUID, version: int = 0, limit: int = most) -> None:
            found = await self._store.stream(stream_id, list, after=version, limit=limit, beyond=after, up_to=head)
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
        contexts = await self._store.context_at(envelope.context_position for envelope in envelopes)
        decoded = {position: _decode_context(context) for position, context in contexts.items()}
        return [Fact(envelope, decoded[envelope.context_position]) for envelope in envelopes]
