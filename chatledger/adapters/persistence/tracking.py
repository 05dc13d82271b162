"""Where subscriptions stand, on SQL: positions and parked streams, in one transaction with a projection's effect."""

import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from chatledger.adapters.persistence.errors import is_gone
from chatledger.adapters.persistence.store import Reader
from chatledger.adapters.persistence.tables import EVENTS, PARKED_STREAMS, STREAMS, TRACKING
from chatledger.adapters.persistence.unhurried import unhurried
from chatledger.application.ledger.envelope import Fact, to_microseconds
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.tracking import (
    Delivery,
    EffectFailedError,
    ParkedStream,
    SubscriptionStanding,
    SupersededError,
)

T = TypeVar("T")

AIM = 0.005
"""Seconds that a projection is to work in one transaction: the ledger's writer waits for it."""

CLOCK_TICK = 1e-6
FIRST_FACTS = 16
MOST_FACTS = 500


class Projection(Protocol):
    """A read model of the host's, in tables of its own in the ledger's database.

    Its methods get a connection inside a transaction, which the caller commits together with the position: what they
    write counts exactly once. They block the ledger's writer, too: they write to their tables and do nothing
    else, and above all they wait for nothing. They may be called from any thread, by one at a time.

    Attributes:
        name: what it is tracked under, for ever.
        version: to be changed with what the projection does: then it is emptied and follows from the first event on.
    """

    @property
    def name(self) -> str:
        """What it is tracked under."""
        ...

    @property
    def version(self) -> int:
        """The version of its rule and its tables."""
        ...

    def prepare(self, connection: sa.Connection) -> None:
        """Make its tables, where they are not there yet. Called at each start."""
        ...

    def reset(self, connection: sa.Connection) -> None:
        """Bring its tables to the form that this version needs, empty."""
        ...

    def project(self, connection: sa.Connection, facts: Sequence[Fact]) -> None:
        """Change its tables by these events, which are in order: one or many, as the runner sees fit."""
        ...


class RunWriting(Protocol):
    """Runs blocking work where it may take the writing connection."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]:
        """The result of ``work``."""
        ...


class _Tracked:
    """What one transaction knows of a subscription, whose row it holds."""

    def __init__(self, connection: sa.Connection, name: str) -> None:
        self._connection = connection
        self.name = name
        row = connection.execute(
            sa.select(TRACKING.c.position, TRACKING.c.version).where(TRACKING.c.name == name).with_for_update()
        ).one()
        self.position: int = row.position
        self.version: int | None = row.version

    def move(self, position: int) -> int:
        """Stand at a position."""
        self._connection.execute(sa.update(TRACKING).where(TRACKING.c.name == self.name).values(position=position))
        self.position = position
        return position

    def park(self, delivery: Delivery, error: str, now: int) -> None:
        """Leave a stream out from this event on."""
        values = {
            "subscription": self.name,
            "stream_id": delivery.stream_id,
            "version": delivery.version,
            "position": delivery.position,
            "error": error,
            "parked_at": now,
            "is_to_be_retried": False,
        }
        self._connection.execute(insert(self._connection, PARKED_STREAMS).values(values).on_conflict_do_nothing())

    def parked(self, stream_id: UUID) -> ParkedStream | None:
        """A stream that is left out."""
        row = self._connection.execute(sa.select(PARKED_STREAMS).where(_is_parked(self.name, stream_id))).first()
        return _parked_stream(row) if row else None

    def done_with(self, parked: ParkedStream) -> ParkedStream | None:
        """A parked stream's first event is done."""
        following = (
            sa.select(EVENTS.c.version, EVENTS.c.position)
            .join(STREAMS, STREAMS.c.number == EVENTS.c.stream)
            .where(STREAMS.c.stream_id == parked.stream_id, EVENTS.c.version == parked.version + 1)
        )
        row = self._connection.execute(following).first()
        key = _is_parked(self.name, parked.stream_id)
        if row is None or row.position > self.position:
            self._connection.execute(sa.delete(PARKED_STREAMS).where(key))
            return None
        values = {"version": row.version, "position": row.position}
        self._connection.execute(sa.update(PARKED_STREAMS).where(key).values(values))
        return self.parked(parked.stream_id)


class SqlTracking:
    """The positions of all subscriptions, and the streams that they have parked."""

    def __init__(self, writing: sa.Engine, reader: Reader, run: RunWriting, clock: Clock) -> None:
        self._writing = writing
        self._reader = reader
        self._clock = clock
        self.run = run

    async def begin(self, name: str, position: int) -> int:
        """Where the subscription stands: at ``position``, if it is new."""

        def work() -> int:
            with self.transaction(name, first_position=position) as (_, tracked):
                return tracked.position

        return await self.run(work)

    async def standing(self, name: str) -> SubscriptionStanding:
        """Where it stands, and what it is to try again."""
        position = sa.select(TRACKING.c.position).where(TRACKING.c.name == name)
        retries = (
            sa.select(PARKED_STREAMS)
            .where(PARKED_STREAMS.c.subscription == name, PARKED_STREAMS.c.is_to_be_retried)
            .order_by(PARKED_STREAMS.c.position)
        )

        def read(connection: sa.Connection) -> SubscriptionStanding:
            rows = connection.execute(retries).all()
            return SubscriptionStanding(
                connection.execute(position).scalar() or 0, [_parked_stream(row) for row in rows]
            )

        return await self._reader.query(read)

    async def move(self, name: str, position: int) -> None:
        """It is done with everything up to here. A position never falls: a lower one changes nothing."""
        rising = sa.and_(TRACKING.c.name == name, TRACKING.c.position < position)
        await self._execute(sa.update(TRACKING).where(rising).values(position=position))

    async def park(self, name: str, after: int, delivery: Delivery, error: str) -> int:
        """Park the stream of the event that comes after a position, and move on past it; the position then."""

        def work() -> int:
            with self.transaction(name) as (_, tracked):
                if tracked.position != after:
                    return tracked.position
                tracked.park(delivery, error, self._now())
                return tracked.move(delivery.position)

        return await self.run(work)

    async def parked(self, name: str, limit: int) -> list[ParkedStream]:
        """Its parked streams, oldest failure first."""
        query = (
            sa.select(PARKED_STREAMS)
            .where(PARKED_STREAMS.c.subscription == name)
            .order_by(PARKED_STREAMS.c.parked_at, PARKED_STREAMS.c.position)
            .limit(limit)
        )
        return await self._reader.query(lambda c: [_parked_stream(row) for row in c.execute(query)])

    async def parked_stream(self, name: str, stream_id: UUID) -> ParkedStream | None:
        """One of them."""
        query = sa.select(PARKED_STREAMS).where(_is_parked(name, stream_id))
        row = await self._reader.query(lambda c: c.execute(query).first())
        return _parked_stream(row) if row else None

    async def parked_among(self, name: str, stream_ids: Collection[UUID]) -> set[UUID]:
        """Those of the streams that are parked."""
        return await self._reader.query(lambda connection: _parked_among(connection, name, stream_ids))

    async def count_parked(self, name: str) -> int:
        """How many there are."""
        query = sa.select(sa.func.count()).where(PARKED_STREAMS.c.subscription == name)
        return await self._reader.query(lambda c: c.execute(query).scalar_one())

    async def request_retry(self, name: str, stream_id: UUID) -> bool:
        """Ask whoever runs the subscription to try a parked stream again. False where it is not parked."""
        update = sa.update(PARKED_STREAMS).where(_is_parked(name, stream_id)).values(is_to_be_retried=True)
        return bool(await self._execute(update))

    async def retry_failed(self, parked: ParkedStream, error: str) -> None:
        """It failed once more: it stays parked until somebody asks again."""
        same = sa.and_(_is_parked(parked.subscription, parked.stream_id), PARKED_STREAMS.c.version == parked.version)
        values = {"error": error, "parked_at": self._now(), "is_to_be_retried": False}
        await self._execute(sa.update(PARKED_STREAMS).where(same).values(values))

    async def done_with(self, parked: ParkedStream) -> ParkedStream | None:
        """Its first event is done: the next one that is left out comes first now. None: there was no other."""

        def work() -> ParkedStream | None:
            with self.transaction(parked.subscription) as (_, tracked):
                return tracked.done_with(parked)

        return await self.run(work)

    @contextmanager
    def transaction(self, name: str, *, first_position: int | None = None) -> Iterator[tuple[sa.Connection, _Tracked]]:
        """A write transaction that holds the subscription's row, from its first statement on. Blocks.

        Where a first position is given, a row that is not there yet is made: two that begin at once take turns too.
        """
        with unhurried(self._writing) as connection:
            if first_position is not None:
                new = insert(connection, TRACKING).values(name=name, position=first_position)
                connection.execute(new.on_conflict_do_nothing())
            yield connection, _Tracked(connection, name)

    async def _execute(self, statement: sa.Executable) -> int:
        """The number of rows that a statement changed, in a transaction of its own."""

        def work() -> int:
            with unhurried(self._writing) as connection:
                return connection.execute(statement).rowcount

        return await self.run(work)

    def _now(self) -> int:
        return to_microseconds(self._clock.now())


class SqlTrackedProjection:
    """A projection whose effect and position are one transaction.

    The position's row is held from the first statement to the commit, and the effect depends on what it says: of two
    that bring the same events, one finds that they have been done.
    """

    def __init__(self, projection: Projection, tracking: SqlTracking) -> None:
        self._projection = projection
        self._tracking = tracking
        self._most_facts = FIRST_FACTS

    @property
    def name(self) -> str:
        """What it is tracked under."""
        return self._projection.name

    async def begin(self) -> int:
        """Prepare its tables, and start it anew if its version is another than the one on record; where it stands."""

        def work(connection: sa.Connection, tracked: _Tracked) -> int:
            with _hosts_own():
                self._projection.prepare(connection)
            if tracked.version != self._projection.version:
                self._start_anew(connection)
                return 0
            return tracked.position

        return await self._in_transaction(work, is_first=True)

    async def project(self, after: int, deliveries: Sequence[Delivery], end: int) -> int:
        """The effect of events that follow a position, as many as fit into one short transaction; the position then."""

        def work(connection: sa.Connection, tracked: _Tracked) -> int:
            if tracked.position != after:
                return tracked.position
            parked = _parked_among(connection, self.name, {delivery.stream_id for delivery in deliveries})
            wanted = [delivery for delivery in deliveries if delivery.stream_id not in parked]
            now, later = wanted[: self._most_facts], wanted[self._most_facts :]
            if now:
                self._project(connection, [delivery.fact() for delivery in now])
            return tracked.move(now[-1].position if later else end)

        return await self._in_transaction(work)

    def _project(self, connection: sa.Connection, facts: Sequence[Fact]) -> None:
        """The effect of some events; and how many there may be the next time, by how long these took."""
        began = time.perf_counter()
        with _hosts_own():
            self._projection.project(connection, facts)
        at_this_pace = int(len(facts) * AIM / max(time.perf_counter() - began, CLOCK_TICK))
        self._most_facts = max(1, min(at_this_pace, 2 * self._most_facts, MOST_FACTS))

    async def project_parked(self, parked: ParkedStream, delivery: Delivery) -> ParkedStream | None:
        """The effect of a parked stream's first event; what is left parked then."""

        def work(connection: sa.Connection, tracked: _Tracked) -> ParkedStream | None:
            found = tracked.parked(parked.stream_id)
            if found is None or found.version != parked.version:
                return found
            with _hosts_own():
                self._projection.project(connection, [delivery.fact()])
            return tracked.done_with(parked)

        return await self._in_transaction(work)

    async def restart(self) -> None:
        """Empty it and begin again before the first event."""

        def work(connection: sa.Connection, _: _Tracked) -> None:
            self._start_anew(connection)

        await self._in_transaction(work)

    def _start_anew(self, connection: sa.Connection) -> None:
        with _hosts_own():
            self._projection.reset(connection)
        connection.execute(sa.delete(PARKED_STREAMS).where(PARKED_STREAMS.c.subscription == self.name))
        anew = sa.update(TRACKING).where(TRACKING.c.name == self.name)
        connection.execute(anew.values(position=0, version=self._projection.version))

    async def _in_transaction(self, work: Callable[[sa.Connection, _Tracked], T], *, is_first: bool = False) -> T:
        """The result of ``work`` in a transaction that holds the projection's row.

        Raises:
            EffectFailedError: the projection's code failed, or what it wrote could not be committed.
            SupersededError: another version has taken over.
            StorageUnavailableError: the store is in trouble.
        """

        def in_transaction() -> T:
            first_position = 0 if is_first else None
            with self._tracking.transaction(self.name, first_position=first_position) as (connection, tracked):
                if not is_first and tracked.version != self._projection.version:
                    raise SupersededError(self.name)
                return work(connection, tracked)

        def run() -> T:
            try:
                return in_transaction()
            except (EffectFailedError, StorageUnavailableError, SupersededError):
                raise
            except Exception as error:
                raise EffectFailedError from error

        return await self._tracking.run(run)


@contextmanager
def _hosts_own() -> Iterator[None]:
    """What a projection's own code fails with, its statements included, unless the store is gone.

    Raises:
        EffectFailedError: it failed.
    """
    try:
        yield
    except StorageUnavailableError:
        raise
    except Exception as error:
        if is_gone(error):
            raise
        raise EffectFailedError from error


def insert(connection: sa.Connection, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that may say what becomes of a row that is there already."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def _is_parked(name: str, stream_id: UUID) -> sa.ColumnElement[bool]:
    return sa.and_(PARKED_STREAMS.c.subscription == name, PARKED_STREAMS.c.stream_id == stream_id)


def _parked_among(connection: sa.Connection, name: str, stream_ids: Collection[UUID]) -> set[UUID]:
    parked = sa.select(PARKED_STREAMS.c.stream_id).where(PARKED_STREAMS.c.subscription == name)
    if connection.execute(parked.limit(1)).first() is None:
        return set()
    return set(connection.execute(parked.where(PARKED_STREAMS.c.stream_id.in_(stream_ids))).scalars())


def _parked_stream(row: sa.Row[Any]) -> ParkedStream:
    return ParkedStream(
        row.subscription, row.stream_id, row.version, row.position, row.error, row.parked_at, row.is_to_be_retried
    )
