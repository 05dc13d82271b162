"""The ledgers that applications on the ``eventsourcing`` library have open in this process: each is opened once."""

import atexit
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import sqlalchemy as sa

from chatledger.adapters.persistence.database import SQLITE, Database, Durability, database_at
from chatledger.adapters.persistence.errors import storage_errors
from chatledger.adapters.persistence.transaction import EventTypes
from chatledger.application.ports.clock import Clock, IdFactory
from chatledger.application.ports.storage import StorageUnavailableError

SECONDS_TO_CLOSE = 30.0


class Listeners:
    """Those who want to hear of commits, each of one kind."""

    def __init__(self) -> None:
        self._events: tuple[tuple[str, threading.Event], ...] = ()
        self._guard = threading.RLock()

    def add(self, kind: str, event: threading.Event) -> None:
        """Set the event at each commit of this kind."""
        with self._guard:
            self._events += ((kind, event),)

    def remove(self, event: threading.Event) -> None:
        """Leave the event alone from now on."""
        with self._guard:
            self._events = tuple(entry for entry in self._events if entry[1] is not event)

    def wake(self, kind: str | None = None) -> None:
        """Something of this kind was committed, or of any kind."""
        for wanted, event in self._events:
            if kind in {wanted, None}:
                event.set()


class OpenLedger:
    """A ledger that applications of this process share.

    Args:
        writing: what writes to it.
        closing: what is to be done at its end.

    Attributes:
        types: the event types that it knows.
        users: how many share it.
        released: it was closed, and may be opened anew.
    """

    def __init__(
        self,
        database: Database,
        durability: Durability,
        writing: sa.Engine,
        closing: ExitStack,
        clock: Clock,
        new_id: IdFactory,
    ) -> None:
        self.durability = durability
        self.clock = clock
        self.new_id = new_id
        self.types = EventTypes()
        self.users = 0
        self.released = threading.Event()
        self._database = database
        self._writing = writing
        self._reading = database.reading()
        self._listeners = Listeners()
        self._hears_others = False
        self._is_closed = False
        self._guard = threading.RLock()
        self._closing = closing
        self._closing.callback(self._reading.dispose)

    @property
    def writing(self) -> sa.Engine:
        """What writes.

        Raises:
            StorageUnavailableError: the ledger was closed.
        """
        self._require_open()
        return self._writing

    @property
    def reading(self) -> sa.Engine:
        """What reads.

        Raises:
            StorageUnavailableError: the ledger was closed.
        """
        self._require_open()
        return self._reading

    def _require_open(self) -> None:
        # An engine would connect anew, and write to a file that may be another process's by now.
        if self._is_closed:
            raise StorageUnavailableError(f"{self._database.place} was closed by the last who used it")

    def read(self, query: sa.Executable) -> Sequence[sa.Row[Any]]:
        """The rows of a query.

        Raises:
            StorageUnavailableError: the store is in trouble, or was closed.
        """
        with storage_errors(), self.reading.begin() as connection:
            return connection.execute(query).all()

    @contextmanager
    def listening(self, kind: str, event: threading.Event) -> Iterator[None]:
        """Set the event at each commit of this kind, while inside."""
        self.listen(kind, event)
        try:
            yield
        finally:
            self.unlisten(event)

    def listen(self, kind: str, event: threading.Event) -> None:
        """Set the event at each commit of this kind."""
        self._listeners.add(kind, event)
        with self._guard:
            if not self._hears_others and not self._is_closed:
                self._closing.enter_context(self._database.news(self.wake))
                self._hears_others = True

    def unlisten(self, event: threading.Event) -> None:
        """Leave the event alone from now on."""
        self._listeners.remove(event)

    def wake(self, kind: str | None = None) -> None:
        """Something of this kind was committed, or of any kind."""
        self._listeners.wake(kind)

    def close(self) -> None:
        """Refuse everything from now on, and release what it has."""
        with self._guard:
            self._is_closed = True
        try:
            self._closing.close()
        finally:
            self.released.set()


class Share:
    """One user's part in an open ledger, to be given back."""

    def __init__(self, ledger: OpenLedger) -> None:
        self.ledger = ledger
        self._is_given_back = False

    def close(self) -> None:
        """Give it back. The last one closes the ledger."""
        with _guard:
            if self._is_given_back:
                return
            self._is_given_back = True
            self.ledger.users -= 1
            if self.ledger.users:
                return
        # Not under the guard: it ends threads, in which the garbage collector may give back other shares.
        self.ledger.close()

    def __del__(self) -> None:
        self.close()


_open: WeakValueDictionary[str, OpenLedger] = WeakValueDictionary()
_guard = threading.RLock()
"""One that a thread may take twice: the garbage collector may give a share back while the thread takes another."""


@atexit.register
def _close_all() -> None:
    """What nobody has closed, while threads can still be waited for: at the interpreter's end that would never end."""
    for ledger in list(_open.values()):
        ledger.close()


def share_ledger(url: str, durability: Durability, clock: Clock, new_id: IdFactory) -> Share:
    """A share in the ledger at this URL, which is opened if nobody in this process has it open.

    Raises:
        StoreBusyError: another process has it, and it is one process's at a time.
        StorageUnavailableError: it cannot be reached.
        SchemaError: it cannot keep what a ledger promises.
        ValueError: it is open already, with another durability.
    """
    place = _place(url)
    while True:
        with _guard:
            ledger = _open.get(place)
            if ledger is None or ledger.released.is_set():
                ledger = _open[place] = _open_ledger(url, durability, clock, new_id)
                ledger.users = 1
                return Share(ledger)
            if ledger.durability != durability:
                raise ValueError(f"this process has the ledger open with durability {ledger.durability}")
            ledger.users += 1
            if ledger.users > 1:
                return Share(ledger)
            ledger.users -= 1
        if not ledger.released.wait(SECONDS_TO_CLOSE):
            raise StorageUnavailableError("the ledger is being closed, and that does not end")


@contextmanager
def lent_ledger(
    url: str, database: Database, durability: Durability, writing: sa.Engine, clock: Clock, new_id: IdFactory
) -> Iterator[None]:
    """While inside, applications of this process share what writes here, where there can be only one that does.

    Those that are left at the end are refused from then on.
    """
    if not database.has_one_writer:
        yield
        return
    ledger = OpenLedger(database, durability, writing, ExitStack(), clock, new_id)
    ledger.users = 1
    _open[_place(url)] = ledger
    try:
        yield
    finally:
        ledger.close()


def _place(url: str) -> str:
    return str(Path(url.removeprefix(SQLITE)).resolve()) if url.startswith(SQLITE) else url


def _open_ledger(url: str, durability: Durability, clock: Clock, new_id: IdFactory) -> OpenLedger:
    database = database_at(url, durability)
    with ExitStack() as opening:
        writing = opening.enter_context(database.shared())
        return OpenLedger(database, durability, writing, opening.pop_all(), clock, new_id)
