"""Reading messages off the ledger for whoever follows them."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.queries.listening import EVENTS_AT_ONCE


class Pages:
    """The next events of a message; those who are told of the same at the same moment share one reading.

    A reading is shared up to its beginning only: whoever is told of something after that might miss it there.
    """

    def __init__(self, ledger: Ledger, *, are_shared: bool) -> None:
        """``are_shared``: whether others commit, too, so that all followers of a message have to read what came."""
        self._ledger = ledger
        self._are_shared = are_shared
        self._to_begin: dict[tuple[UUID, int], asyncio.Task[Sequence[Envelope]]] = {}

    async def after(self, message_id: UUID, version: int) -> Sequence[Envelope]:
        """The events after a version as they are on the ledger by now, :data:`EVENTS_AT_ONCE` at most."""
        if not self._are_shared:
            return await self._ledger.read(message_id, version, EVENTS_AT_ONCE)
        key = (message_id, version)
        reading = self._to_begin.get(key)
        if reading is None:
            reading = self._to_begin[key] = asyncio.create_task(self._read(key))
        # Who goes away takes it from nobody. It ends by itself: reading has its time.
        return await asyncio.shield(reading)

    async def _read(self, key: tuple[UUID, int]) -> Sequence[Envelope]:
        del self._to_begin[key]
        return await self._ledger.read(*key, EVENTS_AT_ONCE)
