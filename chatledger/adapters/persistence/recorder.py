"""The recorders of the ``eventsourcing`` library on the ledger's own tables."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import sqlalchemy as sa
from eventsourcing.persistence import (
    AggregateRecorder,
    IntegrityError,
    Notification,
    ProcessRecorder,
    ProgrammingError,
    StoredEvent,
    Tracking,
    TrackingRecorder,
    WaitInterruptedError,
)
from sqlalchemy.dialects import postgresql, sqlite

from chatledger.adapters.persistence.library_errors import library_errors
from chatledger.adapters.persistence.library_queries import LEDGER, between, in_order, of_stream, stream_id_of
from chatledger.adapters.persistence.open_ledgers import Share
from chatledger.adapters.persistence.statements import statements_of
from chatledger.adapters.persistence.store import write_transaction
from chatledger.adapters.persistence.subscription import SqlSubscription
from chatledger.adapters.persistence.tables import (
    LIBRARY_EVENTS,
    LIBRARY_SNAPSHOTS,
    LIBRARY_TRACKING,
    METADATA,
    STREAMS,
)
from chatledger.adapters.persistence.transaction import SqlTransaction
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.storage import (
    LIBRARY,
    EventRow,
    Insert,
)

LIBRARY_SCHEMA = 1
NO_CONTEXT = b"{}"
IDS_PER_STATEMENT = 500
SECONDS_BETWEEN_LOOKS = 0.1


class SqlTrackingRecorder(TrackingRecorder):
    """How far a projection has followed its upstreams, in one transaction with what it makes of them.

    A view is a subclass with tables of its own and methods that move and read them::

        class Shelf(SqlTrackingRecorder):
            tables = sa.MetaData()
            books = sa.Table("shelf_books", tables, sa.Column("isbn", sa.Text(), primary_key=True))

            def put(self, isbn: str, tracking: Tracking) -> None:
                with self.writing(tracking) as connection:
                    connection.execute(self.books.insert().values(isbn=isbn))

            def isbns(self) -> list[str]:
                with self.reading() as connection:
                    return list(connection.execute(sa.select(self.books.c.isbn)).scalars())

    Blocks.

    Args:
        share: this recorder's part in the ledger.
        name: of the application or projection that follows.
    """

    tables: ClassVar[sa.MetaData | None] = None
    """What the view keeps beside the tracking; made where it is missing."""

    def __init__(self, share: Share, name: str) -> None:
        self.name = name
        self._share = share
        self._ledger = share.ledger
        self._tracking = f"tracking:{name}"

    def create_tables(self) -> None:
        """Make those of the view's tables that are missing.

        Raises:
            OperationalError: the store is in trouble.
            ProgrammingError: one of them has the name of a table of the ledger's.
        """
        if self.tables is None:
            return
        taken = sorted(self.tables.tables.keys() & METADATA.tables.keys())
        if taken:
            raise ProgrammingError(f"{type(self).__name__} has a table {taken[0]}, which is one of the ledger's")
        with library_errors(), self._ledger.writing.begin() as connection:
            statements_of(connection).lock_schema()
            self.tables.create_all(connection)

    @contextmanager
    def writing(self, tracking: Tracking) -> Iterator[sa.Connection]:
        """A transaction in which the view moves, and its upstream counts as followed to here.

        Raises:
            IntegrityError: it was followed as far already.
            OperationalError: the store is in trouble; nothing was written.
        """
        with library_errors(), self._ledger.writing.begin() as connection:
            self._track(connection, tracking)
            yield connection
        self._ledger.wake(self._tracking)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one snapshot and writes nothing.

        Raises:
            OperationalError: the store is in trouble.
        """
        with library_errors(), self._ledger.reading.begin() as connection:
            yield connection

    def insert_tracking(self, tracking: Tracking) -> None:
        """Record how far an upstream was followed.

        Raises:
            IntegrityError: it was followed as far already.
            OperationalError: the store is in trouble; nothing was written.
        """
        with self.writing(tracking):
            pass

    def max_tracking_id(self, application_name: str) -> int | None:
        """How far an upstream was followed; None where it was not yet."""
        own = LIBRARY_TRACKING.c.application == self.name, LIBRARY_TRACKING.c.upstream == application_name
        with library_errors():
            rows = self._ledger.read(sa.select(LIBRARY_TRACKING.c.position).where(*own))
        return rows[0].position if rows else None

    def wait(
        self,
        application_name: str,
        notification_id: int | None,
        timeout: float = 1.0,
        interrupt: threading.Event | None = None,
    ) -> None:
        """Wait until an upstream was followed this far: woken at once where that happens in this process.

        Raises:
            TimeoutError: it was not, in ``timeout`` seconds.
            WaitInterruptedError: ``interrupt`` was set first.
        """
        deadline = time.monotonic() + timeout
        moved = threading.Event()
        with self._ledger.listening(self._tracking, moved):
            while not self.has_tracking_id(application_name, notification_id):
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError(f"{self.name} has not followed {application_name} to {notification_id} yet")
                moved.wait(min(remaining, SECONDS_BETWEEN_LOOKS))
                moved.clear()
                if interrupt is not None and interrupt.is_set():
                    raise WaitInterruptedError

    def close(self) -> None:
        """Let go of the ledger. The last one in this process to do so closes it."""
        self._share.close()

    def _track(self, connection: sa.Connection, tracking: Tracking) -> None:
        insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        upstream, position = tracking.application_name, tracking.notification_id
        values = insert(LIBRARY_TRACKING).values(application=self.name, upstream=upstream, position=position)
        rising = LIBRARY_TRACKING.c.position < values.excluded.position
        upsert = values.on_conflict_do_update(
            index_elements=["application", "upstream"], set_={"position": values.excluded.position}, where=rising
        )
        if connection.execute(upsert.returning(LIBRARY_TRACKING.c.position)).first() is None:
            raise IntegrityError(f"{upstream} was followed to {position} already")


class SqlRecorder(SqlTrackingRecorder, ProcessRecorder):
    """The events of one application that is built on the library, and how far it has followed others.

    Its events stand in the one ledger, at positions of the one sequence, with leaves like any other, in streams whose
    category names the application; the topic is the name, the state the public part. It sees its own events alone: the
    positions in between are those of others. A stream that another application or chatledger has begun is not for it.
    """

    # Writing

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, tracking: Tracking | None = None, **_: Any
    ) -> Sequence[int]:
        """Record events, and how far an upstream was followed, in one transaction; the positions of the events.

        Raises:
            IntegrityError: a version of a stream is on record already, or the tracking does not rise.
            OperationalError: the store is in trouble.
            ProgrammingError: a stream is another's, or is not named by a UUID.
        """
        if not stored_events:
            if tracking is not None:
                self.insert_tracking(tracking)
            return []
        ledger = self._ledger
        with library_errors(), write_transaction(ledger.writing, ledger.types) as transaction:
            rows = self._rows(stored_events, transaction)
            self._require_own(transaction.connection, {row.stream_id for row in rows})
            transaction.append(rows)
            own = LIBRARY_EVENTS.name
            transaction.apply([Insert(own, {"application": self.name, "position": row.position}) for row in rows])
            if tracking is not None:
                self._track(transaction.connection, tracking)
        ledger.types = transaction.types
        ledger.wake(self._category)
        if tracking is not None:
            ledger.wake(self._tracking)
        return [row.position for row in rows]

    @property
    def _category(self) -> str:
        return f"{LIBRARY}{self.name}"

    def _rows(self, stored_events: Sequence[StoredEvent], transaction: SqlTransaction) -> list[EventRow]:
        head = transaction.head()
        recorded_at = max(head.recorded_at, to_microseconds(self._ledger.clock.now()))
        rows = []
        for position, event in enumerate(stored_events, head.position + 1):
            row = EventRow(
                position=position,
                stream_id=stream_id_of(event.originator_id),
                category=self._category,
                version=event.originator_version,
                event_id=self._ledger.new_id(),
                name=event.topic,
                schema=LIBRARY_SCHEMA,
                recorded_at=recorded_at,
                public=event.state,
                sealed=None,
                key_id=None,
                algorithm="none",
                context_position=position,
                context=NO_CONTEXT,
            )
            rows.append(msgspec.structs.replace(row, leaf=leaf_hash(row)))
        return rows

    def _require_own(self, connection: sa.Connection, stream_ids: set[UUID]) -> None:
        wanted = list(stream_ids)
        for start in range(0, len(wanted), IDS_PER_STATEMENT):
            page = wanted[start : start + IDS_PER_STATEMENT]
            column = STREAMS.c
            foreign = sa.select(column.stream_id, column.category).where(
                column.stream_id.in_(page), column.category != self._category
            )
            found = connection.execute(foreign.limit(1)).first()
            if found is not None:
                owner = _owner(found.category)
                raise ProgrammingError(f"stream {found.stream_id} belongs to {owner}, not to {self.name}")

    # Reading

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The events of a stream of its own, in order of version."""
        query = sa.select(LEDGER).where(LEDGER.c.category == self._category)
        with library_errors():
            rows = self._ledger.read(of_stream(query, originator_id, gt, lte, desc=desc, limit=limit))
        return [StoredEvent(row.stream_id, row.version, row.name, row.public) for row in rows]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Its events in order of position."""
        place = LIBRARY_EVENTS.c.position
        own = sa.select(place).where(LIBRARY_EVENTS.c.application == self.name)
        own = between(own, place, start, stop, inclusive_of_start=inclusive_of_start)
        if not topics:
            # A page of positions before anything is joined, so that no statistics of the database matter.
            own = own.order_by(place).limit(limit)
        page = own.subquery()
        query = sa.select(LEDGER).join_from(page, LEDGER, page.c.position == LEDGER.c.position)
        query = between(query, LEDGER.c.position, start, stop, inclusive_of_start=inclusive_of_start)
        with library_errors():
            rows = self._ledger.read(in_order(query, topics, limit))
        return [Notification(row.stream_id, row.version, row.name, row.public, row.position) for row in rows]

    def max_notification_id(self) -> int | None:
        """The position of its last event; None where it has none."""
        last = sa.select(sa.func.max(LIBRARY_EVENTS.c.position)).where(LIBRARY_EVENTS.c.application == self.name)
        with library_errors():
            return self._ledger.read(last)[0][0]

    # Following

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> SqlSubscription:
        """All its events after a position, and then each new one as it is committed."""
        return SqlSubscription(self, gt, topics)

    def listen(self, listener: threading.Event) -> None:
        """Set the event at each of its commits in this process, and at each of others' that it hears of."""
        self._ledger.listen(self._category, listener)

    def unlisten(self, listener: threading.Event) -> None:
        """Leave the event alone from now on."""
        self._ledger.unlisten(listener)


class SqlSnapshotRecorder(AggregateRecorder):
    """The snapshots of one application. They are disposable, and stand beside the ledger, not on it. Blocks."""

    def __init__(self, share: Share, name: str) -> None:
        self._share = share
        self._ledger = share.ledger
        self._name = name

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> None:
        """Record snapshots.

        Raises:
            IntegrityError: there is one of this version already.
            OperationalError: the store is in trouble; nothing was written.
            ProgrammingError: a stream is not named by a UUID.
        """
        rows = [
            {
                "application": self._name,
                "stream_id": stream_id_of(event.originator_id),
                "version": event.originator_version,
                "topic": event.topic,
                "state": event.state,
            }
            for event in stored_events
        ]
        if rows:
            with library_errors(), self._ledger.writing.begin() as connection:
                connection.execute(LIBRARY_SNAPSHOTS.insert(), rows)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The snapshots of a stream in order of version."""
        query = sa.select(LIBRARY_SNAPSHOTS).where(LIBRARY_SNAPSHOTS.c.application == self._name)
        with library_errors():
            rows = self._ledger.read(of_stream(query, originator_id, gt, lte, desc=desc, limit=limit))
        return [StoredEvent(row.stream_id, row.version, row.topic, row.state) for row in rows]


def _owner(category: str) -> str:
    return f"the application {category.removeprefix(LIBRARY)}" if category.startswith(LIBRARY) else "chatledger itself"
