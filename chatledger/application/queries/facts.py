"""The facts themselves: the events of a message, with who did it and why."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from chatledger.application.accepting import MAX_PAGE, accept_number
from chatledger.application.context import Context
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.envelope import Fact
from chatledger.application.ports.storage import LedgerStore

_decode_context = msgspec.json.Decoder(Context).decode


class Facts:
    """Reads streams as an auditor does."""

    def __init__(self, store: LedgerStore, codec: EventCodec) -> None:
        self._store = store
        self._codec = codec

    async def stream(self, stream_id: UUID, after: int, limit: int) -> tuple[Sequence[Fact], bool]:
        """Up to ``limit`` events after a version, and whether more follow.

        Raises:
            InvalidParameterError: a page is not that long.
        """
        accept_number("limit", limit, 1, MAX_PAGE)
        envelopes = await self._store.stream(stream_id, self._codec.decode_all, after=after, limit=limit + 1)
        page = envelopes[:limit]
        contexts = await self._store.context_at(envelope.context_position for envelope in page)
        decoded = {position: _decode_context(context) for position, context in contexts.items()}
        return [Fact(envelope, decoded[envelope.context_position]) for envelope in page], len(envelopes) > limit
