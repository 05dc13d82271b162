"""How far the endpoints of webhooks were told, on SQL."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from chatledger.adapters.persistence.leases import require_lease
from chatledger.adapters.persistence.store import Reader
from chatledger.adapters.persistence.tables import UNDELIVERED, WEBHOOK_PROGRESS
from chatledger.adapters.persistence.tracking import RunWriting, insert
from chatledger.adapters.persistence.unhurried import unhurried
from chatledger.application.ports.leases import Fence, no_fence
from chatledger.application.ports.webhooks import OnRecord, Progress, RecordChangedError, Standing, Undelivered

AT_ONCE = 200
"""Rows to a statement."""

_UNTROUBLED: dict[str, Any] = {"failures": 0, "failing_since": None, "paused_until": 0}

_REVISED: dict[str, Any] = {"revision": WEBHOOK_PROGRESS.c.revision + 1}

_OF_ROW = tuple(column.name for column in UNDELIVERED.c if column.name != "endpoint_id")


class SqlStandings:
    """The progress of all endpoints, to read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def standing(self, endpoint_id: UUID) -> Standing | None:
        """Where it stands; None where it was told nothing yet."""
        table = UNDELIVERED.c
        of_endpoint = table.endpoint_id == endpoint_id
        counted = sa.select(table.is_dead, sa.func.count()).where(of_endpoint).group_by(table.is_dead)

        def read(connection: sa.Connection) -> Standing | None:
            row = _row(connection, endpoint_id)
            if row is None:
                return None
            counts = {bool(is_dead): count for is_dead, count in connection.execute(counted)}
            return Standing(_progress(row), waiting=counts.get(False, 0), dead=counts.get(True, 0))

        return await self._reader.query(read)

    async def dead_letters(self, endpoint_id: UUID, after: int, limit: int) -> Sequence[Undelivered]:
        """Its dead events after a position, in order."""
        table = UNDELIVERED.c
        query = (
            sa.select(UNDELIVERED)
            .where(table.endpoint_id == endpoint_id, table.is_dead, table.position > after)
            .order_by(table.position)
            .limit(limit)
        )
        return await self._reader.query(lambda c: [_undelivered(row) for row in c.execute(query)])


class SqlDeliveries(SqlStandings):
    """The progress of all endpoints. It does not wait for the disk: what a power cut takes is told again.

    Args:
        fence: tells the lease under which couriers save.
    """

    def __init__(self, writing: sa.Engine, reader: Reader, run: RunWriting, fence: Fence = no_fence) -> None:
        super().__init__(reader)
        self._writing = writing
        self._run = run
        self._fence = fence

    async def begin(self, endpoint_id: UUID, position: int) -> OnRecord:
        """Where an endpoint stands: at ``position``, if it is new."""

        def work() -> OnRecord:
            with unhurried(self._writing) as connection:
                new = {"endpoint_id": endpoint_id, "position": position, "forgiven": 0, "revision": 0} | _UNTROUBLED
                connection.execute(insert(connection, WEBHOOK_PROGRESS).values(new).on_conflict_do_nothing())
                return _on_record(connection, endpoint_id)

        return await self._run(work)

    async def revisions(self) -> Mapping[UUID, int]:
        """How often what is on record of each endpoint was changed by somebody else than its courier."""
        query = sa.select(WEBHOOK_PROGRESS.c.endpoint_id, WEBHOOK_PROGRESS.c.revision)
        return await self._reader.query(lambda c: {row.endpoint_id: row.revision for row in c.execute(query)})

    async def save(
        self,
        endpoint_id: UUID,
        progress: Progress,
        undelivered: Collection[Undelivered],
        delivered: Collection[int],
        *,
        revision: int,
    ) -> None:
        """Its progress; what it has not taken, in place of what was on record; and the positions that it has taken.

        Raises:
            RecordChangedError: somebody has changed what is on record since it had this revision; nothing is saved.
            LeaseLostError: another node tells the endpoints by now; nothing is saved.
        """
        lease = self._fence()

        def work() -> None:
            with unhurried(self._writing) as connection:
                require_lease(connection, lease)
                same = _progress_of(endpoint_id).where(WEBHOOK_PROGRESS.c.revision == revision)
                if not connection.execute(same.values(msgspec.structs.asdict(progress))).rowcount:
                    raise RecordChangedError(str(endpoint_id))
                _delete(connection, endpoint_id, [*delivered, *(each.position for each in undelivered)])
                if undelivered:
                    rows = [{"endpoint_id": endpoint_id} | msgspec.structs.asdict(each) for each in undelivered]
                    connection.execute(sa.insert(UNDELIVERED), rows)

        await self._run(work)

    async def revive(self, endpoint_id: UUID, positions: Collection[int] | None) -> int:
        """Have dead events tried again, these or all, as if they never had been; how many there were."""
        dead = sa.and_(UNDELIVERED.c.endpoint_id == endpoint_id, UNDELIVERED.c.is_dead)
        if positions is not None:
            dead = sa.and_(dead, UNDELIVERED.c.position.in_(positions))
        values = {"is_dead": False, "attempts": 0, "due_at": 0, "error": None, "failed_at": None}

        def work() -> int:
            with unhurried(self._writing) as connection:
                connection.execute(_progress_of(endpoint_id).values(_REVISED))
                return connection.execute(sa.update(UNDELIVERED).where(dead).values(values)).rowcount

        return await self._run(work)

    async def rewind(self, endpoint_id: UUID, position: int) -> None:
        """Have everything after a position told again; what it was not told before that is told all the same."""
        beyond = sa.and_(UNDELIVERED.c.endpoint_id == endpoint_id, UNDELIVERED.c.position > position)
        told = WEBHOOK_PROGRESS.c.position
        anew = _REVISED | _UNTROUBLED | {"position": sa.case((told < position, told), else_=position)}

        def work() -> None:
            with unhurried(self._writing) as connection:
                connection.execute(_progress_of(endpoint_id).values(anew))
                connection.execute(sa.delete(UNDELIVERED).where(beyond))

        await self._run(work)

    async def forgive(self, endpoint_id: UUID) -> None:
        """Hold nothing against it that it has failed so far: what waits is tried now, as if for the first time."""
        of_endpoint, is_dead = UNDELIVERED.c.endpoint_id == endpoint_id, UNDELIVERED.c.is_dead
        dead = sa.select(sa.func.count()).select_from(UNDELIVERED).where(of_endpoint, is_dead).scalar_subquery()
        waiting = sa.update(UNDELIVERED).where(of_endpoint, sa.not_(is_dead))

        def work() -> None:
            with unhurried(self._writing) as connection:
                connection.execute(_progress_of(endpoint_id).values(_REVISED | _UNTROUBLED | {"forgiven": dead}))
                connection.execute(waiting.values(attempts=0, due_at=0))

        await self._run(work)

    async def forget(self, endpoint_id: UUID) -> None:
        """It is told nothing any more."""

        def work() -> None:
            with unhurried(self._writing) as connection:
                for table in (WEBHOOK_PROGRESS, UNDELIVERED):
                    connection.execute(sa.delete(table).where(table.c.endpoint_id == endpoint_id))

        await self._run(work)


def _progress_of(endpoint_id: UUID) -> sa.Update:
    return sa.update(WEBHOOK_PROGRESS).where(WEBHOOK_PROGRESS.c.endpoint_id == endpoint_id)


def _row(connection: sa.Connection, endpoint_id: UUID) -> sa.Row[Any] | None:
    return connection.execute(sa.select(WEBHOOK_PROGRESS).where(WEBHOOK_PROGRESS.c.endpoint_id == endpoint_id)).first()


def _on_record(connection: sa.Connection, endpoint_id: UUID) -> OnRecord:
    row = _row(connection, endpoint_id)
    if row is None:
        raise LookupError(str(endpoint_id))
    table = UNDELIVERED.c
    of_endpoint = table.endpoint_id == endpoint_id
    counts = sa.or_(sa.not_(table.is_dead), table.position > row.position)
    undelivered = sa.select(UNDELIVERED).where(of_endpoint, counts).order_by(table.position)
    dead = sa.select(sa.func.count()).select_from(UNDELIVERED).where(of_endpoint, table.is_dead)
    found = [_undelivered(each) for each in connection.execute(undelivered)]
    return OnRecord(_progress(row), found, connection.execute(dead).scalar_one(), row.forgiven, row.revision)


def _progress(row: sa.Row[Any]) -> Progress:
    return Progress(**{name: getattr(row, name) for name in Progress.__struct_fields__})


def _undelivered(row: sa.Row[Any]) -> Undelivered:
    return Undelivered(**{name: getattr(row, name) for name in _OF_ROW})


def _delete(connection: sa.Connection, endpoint_id: UUID, positions: Sequence[int]) -> None:
    table = UNDELIVERED.c
    for start in range(0, len(positions), AT_ONCE):
        page = positions[start : start + AT_ONCE]
        connection.execute(sa.delete(UNDELIVERED).where(table.endpoint_id == endpoint_id, table.position.in_(page)))
