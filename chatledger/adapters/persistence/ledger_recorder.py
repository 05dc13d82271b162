"""chatledger's own events, as the ``eventsourcing`` library reads them."""

import threading
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from eventsourcing.persistence import ApplicationRecorder, Notification, ProgrammingError, StoredEvent

from chatledger.adapters.persistence.library_errors import library_errors
from chatledger.adapters.persistence.library_queries import LEDGER, between, in_order, of_stream
from chatledger.adapters.persistence.open_ledgers import Listeners
from chatledger.adapters.persistence.subscription import SqlSubscription
from chatledger.application.ports.storage import LIBRARY


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


class LedgerRecorder(ApplicationRecorder):
    """chatledger's own events, each as :class:`SealedState`, for whoever follows them with the library.

    It reads, beside whatever server has the ledger, and adds nothing: the read models would not hear of it. Events of
    applications on the library are not among them. Blocks.

    Args:
        reading: connections to the ledger that need not be able to write.
    """

    def __init__(self, reading: sa.Engine) -> None:
        self._reading = reading
        self._listeners = Listeners()

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:  # noqa: ARG002 - refused
        """Refuse.

        Raises:
            ProgrammingError: always.
        """
        raise ProgrammingError("chatledger's own events are recorded by chatledger alone")

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
        rows = self._read(of_stream(_own_events(), originator_id, gt, lte, desc=desc, limit=limit))
        return [StoredEvent(row.stream_id, row.version, row.name, _sealed_state(row)) for row in rows]

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
        query = between(_own_events(), LEDGER.c.position, start, stop, inclusive_of_start=inclusive_of_start)
        return [
            Notification(row.stream_id, row.version, row.name, _sealed_state(row), row.position)
            for row in self._read(in_order(query, topics, limit))
        ]

    def max_notification_id(self) -> int | None:
        """The position of the last event; None where there is none."""
        last = _own_events().order_by(LEDGER.c.position.desc()).limit(1)
        rows = self._read(last)
        return rows[0].position if rows else None

    def _read(self, query: sa.Executable) -> Sequence[sa.Row[Any]]:
        with library_errors(), self._reading.begin() as connection:
            return connection.execute(query).all()

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> SqlSubscription:
        """All events after a position, and then each new one, at the latest when it is looked for."""
        return SqlSubscription(self, gt, topics)

    def wake(self) -> None:
        """Something was committed. Whoever hears of it may call this to spare the subscribers a wait."""
        self._listeners.wake()

    def listen(self, listener: threading.Event) -> None:
        """Set the event when woken."""
        self._listeners.add("", listener)

    def unlisten(self, listener: threading.Event) -> None:
        """Leave the event alone from now on."""
        self._listeners.remove(listener)


def _own_events() -> sa.Select[Any]:
    return sa.select(LEDGER).where(~LEDGER.c.category.startswith(LIBRARY, autoescape=True))


def _sealed_state(row: Any) -> bytes:
    state = SealedState(row.event_id, row.recorded_at, row.schema, msgspec.Raw(row.public), row.sealed, row.key_id)
    return msgspec.json.encode(state)
