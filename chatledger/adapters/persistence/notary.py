"""The ledger's tree and its checkpoints, on SQL."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.store import Reader
from chatledger.adapters.persistence.tables import CHECKPOINTS, EVENTS, HEAD, NOTARY_KEYS, TILES
from chatledger.application.ports.notary import Backlog, SignedCheckpoint, TreeRows

T = TypeVar("T")

_SIGNED = (
    CHECKPOINTS.c.number,
    CHECKPOINTS.c.origin,
    CHECKPOINTS.c.size,
    CHECKPOINTS.c.note,
    CHECKPOINTS.c.signed_at,
)
_IS_UNDELIVERED = CHECKPOINTS.c.delivered_at.is_(None)


class SqlTreeRows:
    """The rows of one snapshot."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def size(self) -> int:
        """How many events the ledger says it has."""
        return self._connection.execute(sa.select(HEAD.c.position)).scalar_one()

    def leaves(self, first: int, count: int) -> Sequence[bytes]:
        """The hashes of these leaves, the first of all at 0: fewer, where one of them is not there."""
        position = EVENTS.c.position
        query = sa.select(EVENTS.c.leaf).where(position > first, position <= first + count).order_by(position)
        return self._connection.execute(query).scalars().all()

    def tiles(self, level: int, first: int, count: int) -> Mapping[int, bytes]:
        """The roots of these full tiles by their numbers, as far as they are stored."""
        number = TILES.c.number
        query = sa.select(number, TILES.c.root).where(TILES.c.level == level, number >= first, number < first + count)
        return {row.number: row.root for row in self._connection.execute(query)}

    def next_tile(self, level: int) -> int:
        """The number after the last tile that is stored at a level."""
        last = self._connection.execute(sa.select(sa.func.max(TILES.c.number)).where(TILES.c.level == level)).scalar()
        return 0 if last is None else last + 1


class SqlNotaryStore:
    """Reads in the reading threads."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def read(self, work: Callable[[TreeRows], T]) -> T:
        """The result of ``work``, in one snapshot, off the event loop.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        return await self._reader.query(lambda connection: work(SqlTreeRows(connection)))

    async def incarnation(self) -> UUID:
        """Which ledger this is: another one after a restore."""
        return await self._reader.run(lambda transaction: transaction.incarnation())

    async def newest(self, origin: str) -> SignedCheckpoint | None:
        """The last checkpoint of a log."""
        return await self._last(CHECKPOINTS.c.origin == origin)

    async def of_size(self, origin: str, size: int) -> SignedCheckpoint | None:
        """The last checkpoint of a log that covers so many events."""
        return await self._last(sa.and_(CHECKPOINTS.c.origin == origin, CHECKPOINTS.c.size == size))

    async def verifier_keys(self, origin: str) -> Sequence[str]:
        """The keys of a log that were introduced on the ledger, oldest first."""
        keys = NOTARY_KEYS.c
        of_log = keys.verifier_key.startswith(f"{origin}+", autoescape=True)
        query = sa.select(keys.verifier_key).where(of_log).order_by(keys.position)
        return await self._reader.query(lambda c: c.execute(query).scalars().all())

    async def last_number(self) -> int:
        """The number of the last checkpoint, of whatever log; 0 where there is none."""
        query = sa.select(sa.func.coalesce(sa.func.max(CHECKPOINTS.c.number), 0))
        return await self._reader.query(lambda c: c.execute(query).scalar_one())

    async def undelivered(self, limit: int) -> Sequence[SignedCheckpoint]:
        """The oldest checkpoints that the sink has not taken yet, in order."""
        query = sa.select(*_SIGNED).where(_IS_UNDELIVERED).order_by(CHECKPOINTS.c.number).limit(limit)
        return await self._reader.query(lambda c: [_signed(*row) for row in c.execute(query)])

    async def backlog(self) -> Backlog:
        """How far the sink is behind."""
        query = sa.select(sa.func.count(), sa.func.min(CHECKPOINTS.c.signed_at)).where(_IS_UNDELIVERED)
        count, since = await self._reader.query(lambda c: c.execute(query).one())
        return Backlog(count, since)

    async def _last(self, condition: sa.ColumnElement[bool]) -> SignedCheckpoint | None:
        query = sa.select(*_SIGNED).where(condition).order_by(CHECKPOINTS.c.number.desc()).limit(1)
        row = await self._reader.query(lambda c: c.execute(query).first())
        return None if row is None else _signed(*row)


def _signed(number: int, origin: str, size: int, note: str, signed_at: int) -> SignedCheckpoint:
    return SignedCheckpoint(number=number, origin=origin, size=size, note=note.encode(), signed_at=signed_at)
