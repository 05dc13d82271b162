"""How far the endpoints of webhooks were told, on SQL."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from chatledger.adapters.persistence.store import Reader
from chatledger.adapters.persistence.tables import UNDELIVERED, WEBHOOK_PROGRESS
from chatledger.adapters.persistence.tracking import RunWriting, insert
from chatledger.adapters.persistence.unhurried import unhurried
from chatledger.application.ports.webhooks import Progress, Standing, Undelivered

AT_ONCE = 200
"""Rows to a statement."""

_OF_ROW = tuple(column.name for column in UNDELIVERED.c if column.name != "endpoint_id")


class SqlStandings:
    """The progress of all endpoints, to read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def standing(self, endpoint_id: UUID) -> Standing | None:
        """Where it stands; None where it was told nothing yet."""
        return await self._reader.query(lambda connection: _standing(connection, endpoint_id))

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
    """The progress of all endpoints. It does not wait for the disk: what a power cut takes is told again."""

    def __init__(self, writing: sa.Engine, reader: Reader, run: RunWriting) -> None:
        super().__init__(reader)
        self._writing = writing
        self._run = run

    async def begin(self, endpoint_id: UUID, position: int) -> Standing:
        """Where an endpoint stands: at ``position``, if it is new."""

        def work() -> Standing:
            with unhurried(self._writing) as connection:
                new = {"endpoint_id": endpoint_id, "position": position, "failures": 0, "paused_until": 0}
                connection.execute(insert(connection, WEBHOOK_PROGRESS).values(new).on_conflict_do_nothing())
                found = _standing(connection, endpoint_id)
                if found is None:
                    raise LookupError(str(endpoint_id))
                return found

        return await self._run(work)

    async def save(
        self, endpoint_id: UUID, progress: Progress, undelivered: Collection[Undelivered], delivered: Collection[int]
    ) -> None:
        """Its progress; what it has not taken, in place of what was on record; and the positions that it has taken."""
        here = WEBHOOK_PROGRESS.c.endpoint_id == endpoint_id

        def work() -> None:
            with unhurried(self._writing) as connection:
                connection.execute(sa.update(WEBHOOK_PROGRESS).where(here).values(msgspec.structs.asdict(progress)))
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
                return connection.execute(sa.update(UNDELIVERED).where(dead).values(values)).rowcount

        return await self._run(work)

    async def rewind(self, endpoint_id: UUID, position: int) -> None:
        """Have everything after a position told again."""
        beyond = sa.and_(UNDELIVERED.c.endpoint_id == endpoint_id, UNDELIVERED.c.position > position)
        anew = {"position": position, "failures": 0, "failing_since": None, "paused_until": 0}

        def work() -> None:
            with unhurried(self._writing) as connection:
                new = insert(connection, WEBHOOK_PROGRESS).values({"endpoint_id": endpoint_id} | anew)
                connection.execute(new.on_conflict_do_update(index_elements=["endpoint_id"], set_=anew))
                connection.execute(sa.delete(UNDELIVERED).where(beyond))

        await self._run(work)

    async def forget(self, endpoint_id: UUID) -> None:
        """It is told nothing any more."""

        def work() -> None:
            with unhurried(self._writing) as connection:
                for table in (WEBHOOK_PROGRESS, UNDELIVERED):
                    connection.execute(sa.delete(table).where(table.c.endpoint_id == endpoint_id))

        await self._run(work)


def _standing(connection: sa.Connection, endpoint_id: UUID) -> Standing | None:
    here = sa.select(WEBHOOK_PROGRESS).where(WEBHOOK_PROGRESS.c.endpoint_id == endpoint_id)
    row = connection.execute(here).first()
    if row is None:
        return None
    table = UNDELIVERED.c
    of_endpoint = table.endpoint_id == endpoint_id
    counts = sa.or_(sa.not_(table.is_dead), table.position > row.position)
    undelivered = sa.select(UNDELIVERED).where(of_endpoint, counts).order_by(table.position)
    dead = sa.select(sa.func.count()).select_from(UNDELIVERED).where(of_endpoint, table.is_dead)
    progress = Progress(
        position=row.position,
        failures=row.failures,
        failing_since=row.failing_since,
        paused_until=row.paused_until,
    )
    found = [_undelivered(each) for each in connection.execute(undelivered)]
    return Standing(progress, found, connection.execute(dead).scalar_one())


def _undelivered(row: sa.Row[Any]) -> Undelivered:
    return Undelivered(**{name: getattr(row, name) for name in _OF_ROW})


def _delete(connection: sa.Connection, endpoint_id: UUID, positions: Sequence[int]) -> None:
    table = UNDELIVERED.c
    for start in range(0, len(positions), AT_ONCE):
        page = positions[start : start + AT_ONCE]
        connection.execute(sa.delete(UNDELIVERED).where(table.endpoint_id == endpoint_id, table.position.in_(page)))
