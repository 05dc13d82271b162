"""The ledger in order of position, as subscriptions read it."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from uuid import UUID

import msgspec

from chatledger.application.context import Context
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.envelope import Envelope, Fact
from chatledger.application.ports.storage import LIBRARY, EventRow, LedgerReading, StorageUnavailableError
from chatledger.application.ports.tracking import Delivery

PAGE = 500

_decode_context = msgspec.json.Decoder(Context).decode


class LogPage(msgspec.Struct, frozen=True):
    """The events that follow a position.

    Attributes:
        end: the position of the last row that was read, whether or not there is a delivery for it.
        is_full: there may be more.
    """

    deliveries: Sequence[Delivery]
    end: int
    is_full: bool

    @property
    def stream_ids(self) -> set[UUID]:
        """The streams of its events."""
        return {delivery.stream_id for delivery in self.deliveries}

    def after(self, position: int, limit: int | None = None) -> Sequence[Delivery]:
        """Its events after a position."""
        start = bisect_right(self.deliveries, position, key=lambda delivery: delivery.position)
        return self.deliveries[start : None if limit is None else start + limit]


class _Read(msgspec.Struct, frozen=True):
    """A row as far as it could be read."""

    row: EventRow
    envelope: Envelope | Exception


class LedgerLog:
    """Reads chatledger's own events; those of applications built on the library are for these."""

    def __init__(self, store: LedgerReading, codec: EventCodec) -> None:
        self._store = store
        self._codec = codec

    async def head(self) -> int:
        """The last position."""
        return (await self._store.head()).position

    async def page(self, after: int, limit: int = PAGE) -> LogPage:
        """What ``limit`` rows have of chatledger's own events.

        Raises:
            StorageUnavailableError: the store, or the key store, is in trouble.
        """
        read = await self._store.log(self._read_all, after=after, limit=limit)
        end = read[-1].row.position if read else after
        return LogPage(await self._deliveries(read), end, len(read) == limit)

    async def rows(self, after: int, limit: int) -> Sequence[EventRow]:
        """Up to ``limit`` rows, none of them opened, those of applications on the library too.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        return await self._store.log(list, after=after, limit=limit)

    async def opened(self, rows: Sequence[EventRow]) -> Sequence[Delivery]:
        """What these rows have of chatledger's own events.

        Raises:
            StorageUnavailableError: the store, or the key store, is in trouble.
        """
        return await self._deliveries(await asyncio.to_thread(self._read_all, rows))

    async def event(self, stream_id: UUID, version: int) -> Delivery:
        """One event, which is on the ledger.

        Raises:
            StorageUnavailableError: the store, or the key store, is in trouble.
        """
        read = await self._store.stream(stream_id, self._read_all, after=version - 1, limit=1)
        return (await self._deliveries(read))[0]

    def _read_all(self, rows: Sequence[EventRow]) -> list[_Read]:
        return [_Read(row, self._read(row)) for row in rows]

    def _read(self, row: EventRow) -> Envelope | Exception:
        try:
            return self._codec.decode_or_erased(row)
        except StorageUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - one event that cannot be read must not hide the others
            return error

    async def _deliveries(self, read: Sequence[_Read]) -> list[Delivery]:
        own = [one for one in read if is_own(one.row)]
        contexts = {one.row.position: one.row.context for one in own if one.row.context is not None}
        if missing := {one.row.context_position for one in own} - contexts.keys():
            contexts |= await self._store.context_at(missing)
        return [_delivery(one, contexts[one.row.context_position]) for one in own]


def is_own(row: EventRow) -> bool:
    """Whether an event is chatledger's, and of no application that is built on the library."""
    return not row.category.startswith(LIBRARY)


def _delivery(read: _Read, context: bytes) -> Delivery:
    return Delivery(read.row, _content(read.envelope, context))


def _content(envelope: Envelope | Exception, context: bytes) -> Fact | Exception:
    if isinstance(envelope, Exception):
        return envelope
    try:
        return Fact(envelope, _decode_context(context))
    except msgspec.MsgspecError as error:
        return error
