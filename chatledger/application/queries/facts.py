"""The facts themselves: the events of a message or a conversation, for those who may read them."""

from collections.abc import Sequence
from uuid import UUID

from chatledger.application.audit.reads import ContentReads
from chatledger.application.caller import Auditor, Caller, Ownership, Reader
from chatledger.application.errors import NotFoundError
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.envelope import Fact
from chatledger.application.ports.storage import EventRow, LedgerReading
from chatledger.application.ports.views import Views
from chatledger.application.queries.fact_pages import FactPages
from chatledger.domain.events import REGISTRY, EndUserErased


class Facts(FactPages):
    """The queries of the routes that give events out. What an operator asks for is put on record before it is given."""

    def __init__(
        self, ledger: LedgerReading, codec: EventCodec, views: Views, ownership: Ownership, reads: ContentReads
    ) -> None:
        super().__init__(ledger, codec, views)
        self._ownership = ownership
        self._reads = reads

    async def of_message(self, reader: Reader, message_id: UUID, after: int, limit: int) -> tuple[Sequence[Fact], bool]:
        """Up to ``limit`` events of a message after a version, and whether more follow.

        Raises:
            NotFoundError: it is not the reader's, or its conversation is gone and the reader no auditor.
            InvalidParameterError: a page is not that long.
        """
        await self._admit_to_message(reader, message_id)
        return await self.stream(message_id, after, limit)

    async def of_conversation(
        self, reader: Reader, conversation_id: UUID, after: int, limit: int
    ) -> tuple[Sequence[Fact], bool]:
        """Up to ``limit`` events of a conversation and its messages after a position of the ledger, in its order.

        Raises:
            NotFoundError: it is not the reader's, or is gone and the reader no auditor.
            InvalidParameterError: a page is not that long.
        """
        await self._admit_to_conversation(reader, conversation_id)
        return await self.conversation(conversation_id, after, limit)

    async def rows_of_message(self, reader: Reader, message_id: UUID, most: int) -> Sequence[EventRow]:
        """The first rows of a message, as they are stored.

        Raises:
            NotFoundError: it is not the reader's, or its conversation is gone and the reader no auditor.
        """
        await self._admit_to_message(reader, message_id)
        return await self._ledger.stream(message_id, list, limit=most)

    async def rows_of_erased_person(self, end_user_id: UUID, most: int) -> Sequence[EventRow]:
        """The first rows of a person who is erased, as they are stored. What they have sealed opens for nobody.

        Raises:
            NotFoundError: they are not.
        """
        rows = await self._ledger.stream(end_user_id, list, limit=most)
        if not rows or rows[-1].name != REGISTRY.of(EndUserErased).name:
            raise NotFoundError("erasure")
        return rows

    async def rows_of_conversation(self, reader: Reader, conversation_id: UUID, most: int) -> Sequence[EventRow]:
        """The first rows of a conversation and its messages, as they are stored, in the order of the ledger.

        Raises:
            NotFoundError: it is not the reader's, or is gone and the reader no auditor.
        """
        await self._admit_to_conversation(reader, conversation_id)
        return await self._rows(conversation_id, 0, most)

    async def _admit_to_conversation(self, reader: Reader, conversation_id: UUID) -> None:
        if isinstance(reader, Caller):
            await self._ownership.require_conversation(reader, conversation_id)
        elif not await self.is_conversation(conversation_id):
            raise NotFoundError("conversation")
        await self._reads.note(reader, "conversation", conversation_id)

    async def _admit_to_message(self, reader: Reader, message_id: UUID) -> None:
        await self._require_message(reader, message_id)
        await self._reads.note(reader, "message", message_id)

    async def _require_message(self, reader: Reader, message_id: UUID) -> None:
        place = await self._views.message_place(message_id)
        if place is None:
            raise NotFoundError("message")
        await self._ownership.require(reader, "message", place.app_id, place.end_user_id)
        if isinstance(reader, Auditor) or place.mode == "completion":
            return
        if await self._views.conversation_place(place.conversation_id) is None:
            raise NotFoundError("message")
