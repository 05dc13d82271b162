"""The recorder of the ``eventsourcing`` library on the ledger's own tables."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    InternalError,
    ListenNotifySubscription,
    Notification,
    OperationalError,
    PersistenceError,
    ProcessRecorder,
    ProgrammingError,
    StoredEvent,
    Tracking,
)
from sqlalchemy.dialects import postgresql, sqlite

from chatledger.adapters.persistence.errors import kind_of, storage_errors
from chatledger.adapters.persistence.store import write_transaction
from chatledger.adapters.persistence.tables import STREAMS, TRACKING, CompactUuid, Position
from chatledger.adapters.persistence.transaction import EventTypes, SqlTransaction
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ledger.leaf import leaf_hash
from chatledger.application.ports.clock import Clock, IdFactory
from chatledger.application.ports.storage import EventRow, StorageUnavailableError

LIBRARY_SCHEMA = 1
NO_CONTEXT = b"{}"

_LIBRARY_ERRORS: dict[str, type[PersistenceError]] = {
    "DataError": DataError,
    "IntegrityError": IntegrityError,
    "InternalError": InternalError,
    "OperationalError": OperationalError,
    "ProgrammingError": ProgrammingError,
}
IDS_PER_STATEMENT = 500

_LEDGER = sa.table(
    "ledger",
    sa.column("position", Position),
    sa.column("stream_id", CompactUuid()),
    sa.column("category", sa.Text()),
    sa.column("version", Position),
    sa.column("event_id", CompactUuid()),
    sa.column("name", sa.Text()),
    sa.column("schema", Position),
    sa.column("recorded_at", Position),
    sa.column("public", sa.LargeBinary()),
    sa.column("sealed", sa.LargeBinary()),
    sa.column("key_id", CompactUuid()),
)


class SealedState(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event of chatledger's own as the one ``state`` that the library has a place for.

    JSON, so that the public part can be read as it stands; the sealed part stays sealed.
    """

    event_id: UUID
    recorded_at: int
    schema: int
    public: msgspec.Raw
    sealed: bytes | None = None
    key_id: UUID | None = None


class SqlRecorder(ProcessRecorder):
    """Events and tracking records of applications that are built on the library.

    Their events stand in the one ledger, at positions of the one sequence, with leaves like any other: in streams of
    category ``library``, the topic as the name, the state as the public part. What chatledger itself recorded can be
    read and followed here as well, as :class:`SealedState`, but not added to: its read models would not hear of it.

    It shares the one writing connection with the ledger's store. Blocks.
    """

    def __init__(self, writer: sa.Engine, reader: sa.Engine, clock: Clock, new_id: IdFactory) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._new_id = new_id
        self._types = EventTypes()
        self._listeners: set[threading.Event] = set()
        self._listeners_guard = threading.Lock()

    # Writing

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, tracking: Tracking | None = None, **_: Any
    ) -> Sequence[int]:
        """Record events, and how far their upstream was followed, in one transaction; the positions of the events.

        Raises:
            IntegrityError: a version of a stream is on record already, or the tracking does not rise.
            OperationalError: the store is in trouble; nothing was written.
            ProgrammingError: a stream is chatledger's own, or is not named by a UUID.
        """
        with _library_errors(), write_transaction(self._writer, self._types) as transaction:
            rows = self._rows(stored_events, transaction)
            _require_library(transaction.connection, {row.stream_id for row in rows})
            transaction.append(rows)
            if tracking is not None:
                _track(transaction.connection, tracking)
        self._types = transaction.types
        self.wake()
        return [row.position for row in rows]

    def _rows(self, stored_events: Sequence[StoredEvent], transaction: SqlTransaction) -> list[EventRow]:
        head = transaction.head()
        recorded_at = max(head.recorded_at, to_microseconds(self._clock.now()))
        rows = []
        for position, event in enumerate(stored_events, head.position + 1):
            row = EventRow(
                position=position,
                stream_id=_stream_id(event.originator_id),
                category="library",
                version=event.originator_version,
                event_id=self._new_id(),
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

    def insert_tracking(self, tracking: Tracking) -> None:
        """Record how far an upstream was followed.

        Raises:
            IntegrityError: it was followed as far already.
            OperationalError: the store is in trouble; nothing was written.
        """
        with _library_errors(), self._writer.begin() as connection:
            _track(connection, tracking)

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
        """The events of a stream in order of version."""
        column = _LEDGER.c
        query = sa.select(_LEDGER).where(column.stream_id == _stream_id(originator_id))
        if gt is not None:
            query = query.where(column.version > gt)
        if lte is not None:
            query = query.where(column.version <= lte)
        query = query.order_by(column.version.desc() if desc else column.version).limit(limit)
        return [StoredEvent(row.stream_id, row.version, row.name, _state(row)) for row in self._read(query)]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Events in order of position."""
        column = _LEDGER.c
        query = sa.select(_LEDGER)
        if start is not None:
            query = query.where(column.position >= start if inclusive_of_start else column.position > start)
        if stop is not None:
            query = query.where(column.position <= stop)
        if topics:
            query = query.where(column.name.in_(topics))
        query = query.order_by(column.position).limit(limit)
        return [
            Notification(row.stream_id, row.version, row.name, _state(row), row.position) for row in self._read(query)
        ]

    def max_notification_id(self) -> int | None:
        """The position of the last event; None where there is none."""
        (row,) = self._read(sa.text("SELECT position FROM head"))
        return row.position or None

    def max_tracking_id(self, application_name: str) -> int | None:
        """How far an upstream was followed; None where it was not yet."""
        rows = self._read(sa.select(TRACKING.c.position).where(TRACKING.c.name == application_name))
        return rows[0].position if rows else None

    def _read(self, query: sa.Executable) -> Sequence[sa.Row[Any]]:
        with _library_errors(), self._reader.begin() as connection:
            return connection.execute(query).all()

    # Following

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> "SqlSubscription":
        """All events after a position, and then each new one as it is committed."""
        return SqlSubscription(self, gt, topics)

    def wake(self) -> None:
        """Something was committed. Whoever commits by another way may call this to spare the subscribers a wait."""
        with self._listeners_guard:
            for listener in self._listeners:
                listener.set()

    def listen(self, listener: threading.Event) -> None:
        """Set the event at each commit."""
        with self._listeners_guard:
            self._listeners.add(listener)

    def unlisten(self, listener: threading.Event) -> None:
        """Leave the event alone from now on."""
        with self._listeners_guard:
            self._listeners.discard(listener)


class SqlSubscription(ListenNotifySubscription[SqlRecorder]):
    """Woken by commits of its own recorder at once, and by those of any other by looking for them now and then."""

    poll_interval = 0.5

    def __init__(self, recorder: SqlRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        recorder.listen(self._has_been_notified)
        # The thread has begun to read by now: what was committed before the line above must not wait for the next.
        self._has_been_notified.set()

    def stop(self) -> None:
        """End the iteration and the thread behind it."""
        super().stop()
        self._recorder.unlisten(self._has_been_notified)
        if threading.current_thread() is not self._pull_thread:
            self._pull_thread.join()

    def _loop_on_pull(self) -> None:
        try:
            while not self._has_been_stopped:
                self._pull()
                self._has_been_notified.wait(self.poll_interval)
        except Exception as error:  # noqa: BLE001 - raised again in the iteration
            self._thread_error = error
            self.stop()


def _stream_id(originator_id: UUID | str) -> UUID:
    if not isinstance(originator_id, UUID):
        raise ProgrammingError(f"the ledger names its streams by UUIDs, not by {originator_id!r}")
    return originator_id


def _state(row: Any) -> bytes:
    if row.category == "library":
        return row.public
    state = SealedState(row.event_id, row.recorded_at, row.schema, msgspec.Raw(row.public), row.sealed, row.key_id)
    return msgspec.json.encode(state)


def _require_library(connection: sa.Connection, stream_ids: set[UUID]) -> None:
    wanted = list(stream_ids)
    for start in range(0, len(wanted), IDS_PER_STATEMENT):
        page = wanted[start : start + IDS_PER_STATEMENT]
        foreign = sa.select(STREAMS.c.stream_id).where(STREAMS.c.stream_id.in_(page), STREAMS.c.category != "library")
        found = connection.execute(foreign.limit(1)).scalar()
        if found is not None:
            raise ProgrammingError(f"stream {found} is chatledger's own")


def _track(connection: sa.Connection, tracking: Tracking) -> None:
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    values = insert(TRACKING).values(name=tracking.application_name, position=tracking.notification_id)
    rising = TRACKING.c.position < values.excluded.position
    upsert = values.on_conflict_do_update(
        index_elements=["name"], set_={"position": values.excluded.position}, where=rising
    )
    if connection.execute(upsert.returning(TRACKING.c.position)).first() is None:
        raise IntegrityError(f"{tracking.application_name} was followed to {tracking.notification_id} already")


@contextmanager
def _library_errors() -> Iterator[None]:
    try:
        with storage_errors():
            yield
    except StorageUnavailableError as error:
        raise OperationalError(str(error)) from error
    except Exception as error:
        library = _LIBRARY_ERRORS.get(kind_of(error) or "")
        if library is None:
            raise
        raise library(str(getattr(error, "orig", error))) from error
