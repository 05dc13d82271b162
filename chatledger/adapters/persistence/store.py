"""The ledger's store: rows in under one lock, rows out without one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType
from typing import TypeVar
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.errors import storage_errors
from chatledger.adapters.persistence.statements import statements_of
from chatledger.adapters.persistence.transaction import EventTypes, SqlTransaction, StreamHead
from chatledger.adapters.persistence.unhurried import unhurried
from chatledger.application.ports.storage import (
    LAST_POSITION,
    Beginning,
    CommitInDoubtError,
    EventRow,
    Head,
    SchemaError,
    StorageUnavailableError,
    StoreBusyError,
    StoredStream,
)

T = TypeVar("T")

REMEMBERED_STREAMS = 100_000

SECONDS_IN_DOUBT = 15.0
SECONDS_BETWEEN_TRIES = 0.05

_NO_HEADS: Mapping[UUID, StreamHead] = MappingProxyType({})


@contextmanager
def write_transaction(
    engine: sa.Engine, types: EventTypes, known_heads: Mapping[UUID, StreamHead] = _NO_HEADS
) -> Iterator[SqlTransaction]:
    """A write transaction under the ledger's lock: committed at the end, rolled back when the block raises. Blocks.

    A connection that is lost in the middle of its COMMIT leaves open whether there was one. The next holder of the
    lock knows: the transaction has ended by then, and its last event is on the ledger or it is not.

    Raises:
        CommitInDoubtError: nobody could be asked.
        StorageUnavailableError: the store is in trouble; nothing was written.
    """
    with storage_errors():
        try:
            connection, transaction = _begin(engine, types, known_heads)
        except (SchemaError, StoreBusyError) as error:
            # The connection is new, and the database was not what it had been: a standby, another server's.
            raise StorageUnavailableError(str(error)) from error
        with _released(connection):
            try:
                yield transaction
            except BaseException:
                connection.rollback()
                raise
            try:
                connection.commit()
            except Exception as error:
                if transaction.last is None or not _is_lost(connection):
                    raise
                doubt = error
            else:
                return
        if not _has_taken_place(engine, transaction.last):
            raise doubt


def _begin(
    engine: sa.Engine, types: EventTypes, known_heads: Mapping[UUID, StreamHead] = _NO_HEADS
) -> tuple[sa.Connection, SqlTransaction]:
    """A transaction that has the lock. A connection that was lost while it lay idle is replaced, once."""
    try:
        return _lock(engine, types, known_heads)
    except _LostError:
        pass
    try:
        # A database that was away may have come back without its last moments: what it had then is read anew.
        return _lock(engine, EventTypes(), known_heads)
    except _LostError as lost:
        raise lost.error from None


class _LostError(Exception):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _lock(
    engine: sa.Engine, types: EventTypes, known_heads: Mapping[UUID, StreamHead]
) -> tuple[sa.Connection, SqlTransaction]:
    connection = engine.connect()
    try:
        connection.begin()
        transaction = SqlTransaction(connection, types.copy(), known_heads)
        transaction.lock()
    except Exception as error:
        lost = _is_lost(connection)
        _release(connection)
        if lost:
            raise _LostError(error) from error
        raise
    except BaseException:
        _release(connection)
        raise
    return connection, transaction


def _release(connection: sa.Connection) -> None:
    """Back to the pool, unless it is lost."""
    if _is_lost(connection):
        connection.invalidate()
    connection.close()


@contextmanager
def _released(connection: sa.Connection) -> Iterator[None]:
    try:
        yield
    finally:
        _release(connection)


def _is_lost(connection: sa.Connection) -> bool:
    """Whether the database went away under a connection."""
    return connection.invalidated or statements_of(connection).is_lost


def _has_taken_place(engine: sa.Engine, event: EventRow) -> bool:
    deadline = time.monotonic() + SECONDS_IN_DOUBT
    while True:
        try:
            connection, transaction = _begin(engine, EventTypes())
            with _released(connection):
                return transaction.has_taken_place(event)
        except Exception as error:
            if time.monotonic() > deadline:
                raise CommitInDoubtError("the database went away in the middle of a commit") from error
            time.sleep(SECONDS_BETWEEN_TRIES)


class SqlLedgerReading:
    """A few reading connections in threads of their own."""

    def __init__(self, reader: "Reader") -> None:
        self._reader = reader

    async def stream(
        self,
        stream_id: UUID,
        decode: Callable[[Sequence[EventRow]], T],
        *,
        after: int = 0,
        limit: int | None = None,
        beyond: int = 0,
        up_to: int = LAST_POSITION,
    ) -> T:
        """Committed rows of one stream in order of version. ``decode`` runs off the event loop."""
        return await self._reader.run(lambda tx: decode(tx.read_stream(stream_id, after, limit, beyond, up_to)))

    async def streams(
        self, wanted: Sequence[tuple[UUID, int]], decode: Callable[[Sequence[EventRow]], T], *, most: int
    ) -> list[T]:
        """For each stream and version the committed rows after it, in one snapshot. ``decode`` runs off the loop."""
        return await self._reader.run(lambda tx: [decode(rows) for rows in tx.read_streams(wanted, most)])

    async def stream_head(self, stream_id: UUID) -> StoredStream | None:
        """What is on record of a stream, without its events; None where there is no such stream."""
        return (await self._reader.run(lambda tx: tx.streams([stream_id]))).get(stream_id)

    async def log(self, decode: Callable[[Sequence[EventRow]], T], *, after: int, limit: int) -> T:
        """Committed rows in order of position. ``decode`` runs off the event loop."""
        return await self._reader.run(lambda tx: decode(tx.read_log(after, limit)))

    async def changes(
        self, decode: Callable[[Sequence[EventRow]], T], *, after: int, most: int
    ) -> tuple[int, T | None]:
        """Where the ledger ends, and what has changed of apps, people and webhooks, or was erased, after a position.

        None where the ledger has grown by more than ``most`` events. ``decode`` runs off the event loop.
        """

        def read(transaction: SqlTransaction) -> tuple[int, T | None]:
            head = transaction.position()
            return head, None if head - after > most else decode(transaction.read_changes(after, head))

        return await self._reader.run(read)

    async def context_at(self, positions: Iterable[int]) -> Mapping[int, bytes]:
        """The metadata that these rows hold."""
        wanted = sorted(set(positions))
        return await self._reader.run(lambda tx: tx.context_at(wanted))

    async def beginnings(self, stream_ids: Collection[UUID]) -> Mapping[UUID, Beginning]:
        """What these streams began with, those of them that exist."""
        return await self._reader.run(lambda tx: tx.beginnings(stream_ids))

    async def incarnation(self) -> UUID:
        """Which ledger this is: another one than its restored backup, though both have the same positions."""
        return await self._reader.run(lambda tx: tx.incarnation())

    async def head(self) -> Head:
        """Where the ledger ends."""
        return await self._reader.run(lambda tx: tx.head())

    async def position_at(self, moment: int) -> int:
        """The last position that was recorded at a time in microseconds or before; 0 where the ledger began later."""
        return await self._reader.run(lambda tx: tx.position_at(moment))

    async def close(self) -> None:
        """Release every reading connection, once what is being read has been."""
        await asyncio.to_thread(self._reader.close)


class SqlLedgerStore(SqlLedgerReading):
    """What writes, and a few reading connections in threads of their own.

    Args:
        has_one_writer: nobody else moves a stream, so its head needs to be looked up once only.
    """

    def __init__(self, writer: sa.Engine, reader: "Reader", *, has_one_writer: bool = False) -> None:
        super().__init__(reader)
        self._writer = writer
        self._has_one_writer = has_one_writer
        self._types = EventTypes()
        self._heads: dict[UUID, StreamHead] = {}

    @contextmanager
    def write(self) -> Iterator[SqlTransaction]:
        """A write transaction: committed at the end of the block, rolled back when it raises. Blocks.

        Raises:
            CommitInDoubtError: the database went away in the middle of the commit, and stayed away.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        try:
            with write_transaction(self._writer, self._types, self._heads) as transaction:
                yield transaction
        except CommitInDoubtError:
            self._heads.clear()
            raise
        self._types = transaction.types
        if self._has_one_writer:
            if len(self._heads) > REMEMBERED_STREAMS:
                self._heads.clear()
            self._heads.update(transaction.heads)

    @contextmanager
    def aside(self) -> Iterator[SqlTransaction]:
        """A transaction without the ledger's lock, which does not wait for the disk: for read models alone. Blocks.

        Raises:
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with unhurried(self._writer) as connection:
            yield SqlTransaction(connection, self._types.copy())

    def require_writable(self, *, with_room: bool) -> None:
        """Pass where a write goes through; ``with_room`` asks for room for many more. Blocks.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        with self.write() as transaction:
            transaction.try_out(with_room=with_room)

    def scrub(self) -> bool:
        """Leave nothing in files of the store's own of what was deleted; False where a reader is in the way. Blocks.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        with storage_errors(), self._writer.connect() as connection:
            return statements_of(connection).scrub()


class Reader:
    """Runs blocking reads in threads of its own, each on a connection that cannot write."""

    def __init__(self, engine: sa.Engine, threads: int = 4) -> None:
        self._engine = engine
        self._types = EventTypes()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ledger-reader")
        self._may_lag: Callable[[], bool] = lambda: False
        self._catch_up: Callable[[], Awaitable[object]] = _nothing

    def catch_up_first(self, may_lag: Callable[[], bool], catch_up: Callable[[], Awaitable[object]]) -> None:
        """From now on, while the read models may lag behind the ledger, see to it before anything is read."""
        self._may_lag = may_lag
        self._catch_up = catch_up

    async def run(self, read: Callable[[SqlTransaction], T]) -> T:
        """The result of ``read``, in one snapshot."""

        def in_snapshot(connection: sa.Connection) -> T:
            return read(SqlTransaction(connection, self._types))

        return await self.query(in_snapshot)

    async def query(self, read: Callable[[sa.Connection], T]) -> T:
        """The result of ``read``, in one snapshot, which shows all that was committed before, by whatever release.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        if self._may_lag() and await self.query_as_it_is(_lags_behind):
            await self._catch_up()
        return await self.query_as_it_is(read)

    async def query_as_it_is(self, read: Callable[[sa.Connection], T]) -> T:
        """The result of ``read``, in one snapshot, whatever another release has committed."""

        def work() -> T:
            with storage_errors(), self._engine.begin() as connection:
                return read(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """End the threads and release the connections."""
        self._threads.shutdown(wait=True)
        self._engine.dispose()


async def _nothing() -> None:
    """Nobody else appends."""


def _lags_behind(connection: sa.Connection) -> bool:
    return SqlTransaction(connection).lags_behind()
