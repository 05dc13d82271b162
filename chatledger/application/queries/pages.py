"""Reading messages off the ledger for whoever follows them."""

import asyncio
from collections.abc import Sequence
from itertools import islice
from uuid import UUID

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.queries.listening import EVENTS_AT_ONCE

AT_ONCE = 64
"""Followers that one query serves."""

LANES = 2
"""Queries at a time. Whoever wants something meanwhile is served by the next one, with all others who do."""

_Wanted = tuple[UUID, int]


class Pages:
    """The next events of messages, :data:`EVENTS_AT_ONCE` at most, as they are on the ledger when they are asked for.

    Where other nodes commit, each of their commits has all who follow its messages read at the same moment: what is
    wanted while queries run is read by one, and what many want by none but that one.
    """

    def __init__(self, ledger: Ledger, *, are_gathered: bool) -> None:
        """``are_gathered``: whether many are to be read at once, as others than this process commit."""
        self._ledger = ledger
        self._are_gathered = are_gathered
        self._wanted: dict[_Wanted, asyncio.Future[Sequence[Envelope]]] = {}
        self._reading = 0
        self._lanes: set[asyncio.Task[None]] = set()

    async def after(self, message_id: UUID, version: int) -> Sequence[Envelope]:
        """The events after a version.

        Raises:
            StorageUnavailableError: the ledger cannot be read.
        """
        if not self._are_gathered:
            return await self._ledger.read(message_id, version, EVENTS_AT_ONCE)
        page = self._wanted.get((message_id, version))
        if page is None:
            page = self._wanted[message_id, version] = asyncio.get_running_loop().create_future()
            if self._reading < LANES:
                self._reading += 1
                lane = asyncio.create_task(self._read())
                self._lanes.add(lane)
                lane.add_done_callback(self._lanes.discard)
        return await asyncio.shield(page)  # others may wait for it too

    async def _read(self) -> None:
        try:
            await self._read_all()
        finally:
            self._reading -= 1

    async def _read_all(self) -> None:
        while self._wanted:
            wanted = dict(islice(self._wanted.items(), AT_ONCE))
            for key in wanted:
                del self._wanted[key]
            try:
                found = await self._ledger.read_many(list(wanted), EVENTS_AT_ONCE)
            except Exception as error:  # noqa: BLE001 - whoever waits is told of it
                found = [error] * len(wanted)
            for page, outcome in zip(wanted.values(), found, strict=True):
                if isinstance(outcome, Exception):
                    page.set_exception(outcome)
                    page.exception()  # it may be that nobody waits any more
                else:
                    page.set_result(outcome)
