"""Read models made anew in tables beside the live ones, which then take their names."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import sqlalchemy as sa

from chatledger.adapters.persistence.comparing import compare
from chatledger.adapters.persistence.rebuild_turn import RebuildTurn, as_the_only_one
from chatledger.adapters.persistence.statements import statements_of
from chatledger.adapters.persistence.store import Reader, SqlLedgerStore
from chatledger.adapters.persistence.tables import METADATA, successor_of
from chatledger.adapters.persistence.tracking import RunWriting
from chatledger.adapters.persistence.transaction import SqlTransaction, coalesced, for_successors
from chatledger.adapters.persistence.unhurried import unhurried
from chatledger.application.ledger.projections import READ_MODELS, READ_MODELS_VERSION
from chatledger.application.ports.read_models import Comparison, ReadersInTheWayError
from chatledger.application.ports.storage import Change, Insert, StorageUnavailableError, Transaction, Update

log = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS_FOR_READERS = 300.0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two tries to take the names, which later readers and commits have to wait for."""

AIM = 0.01
"""Seconds of work in one transaction that nobody asked for: the ledger's writer waits for it."""

FEWEST_ROWS = 300
"""Of one transaction: fewer cost more in round trips, each of which waits for the thread that replays, than in rows."""


def _are_successors(*, there: bool) -> Change:
    return Update("read_model_versions", {"version": READ_MODELS_VERSION}, {"has_successors": there})


def _predecessor_of(table: str) -> str:
    """The name that a read model has once another took its place."""
    return f"{table}_old"


class SqlReadModels:
    """The read models of a ledger, on either database.

    Args:
        store: the ledger's.
        writing: its writing connection.
        open_reader: opens a reader with a thread and a connection for a rebuild alone.
        run: runs work where it may take the writing connection.
    """

    def __init__(
        self, store: SqlLedgerStore, writing: sa.Engine, open_reader: Callable[[], Reader], run: RunWriting
    ) -> None:
        self._store = store
        self._writing = writing
        self._open_reader = open_reader
        self._run = run

    @asynccontextmanager
    async def successors(self) -> AsyncIterator["SqlSuccessors"]:
        """Empty tables beside the live ones; at the end those that are not live are removed, at a cancellation later.

        Raises:
            RebuildRunningError: another node makes them anew.
            StorageUnavailableError: the store is in trouble; the live read models are as they were.
        """
        reader = self._open_reader()
        try:
            async with as_the_only_one(reader) as rebuilder:
                turn = RebuildTurn(self._writing, rebuilder)
                successors = SqlSuccessors(self._store, turn, reader, self._run)
                async with self._cleared(successors, turn):
                    for table in await self._run(lambda: _tables(turn)):
                        await self._run(lambda: _create(turn, table))  # noqa: B023 - awaited
                    yield successors
        finally:
            await asyncio.shield(asyncio.to_thread(reader.close))

    @asynccontextmanager
    async def _cleared(self, successors: "SqlSuccessors", turn: RebuildTurn) -> AsyncIterator[None]:
        """Without anything of an earlier rebuild, and at the end of this one."""
        try:
            await self._remove_leftovers(turn)
            yield
        except Exception:
            await self._end(successors, turn)
            raise
        except BaseException:
            # Whoever breaks it off does not wait: the next one, or the next start, clears up.
            successors.are_given_up = True
            with suppress(StorageUnavailableError):
                await asyncio.shield(self._run(lambda: self._let_go(turn)))
            raise
        await self._end(successors, turn)

    async def _end(self, successors: "SqlSuccessors", turn: RebuildTurn) -> None:
        successors.are_given_up = True
        try:
            await self._remove_leftovers(turn)
        except StorageUnavailableError as error:
            log.warning("what a rebuild left behind stays until the next one, or the next start: %s", error)

    async def _remove_leftovers(self, turn: RebuildTurn) -> None:
        """In small pieces: no commit waits for long, and none that begins from now on changes them."""
        await self._run(lambda: self._let_go(turn))
        for table in await self._run(lambda: _leftovers(turn)):
            rows = FEWEST_ROWS
            while (seconds := await self._run(lambda: _remove_rows(turn, table, rows))) is not None:  # noqa: B023 - awaited
                rows = at_this_pace(rows, seconds)
            await self._run(lambda: _drop(turn, table))  # noqa: B023 - awaited

    def _let_go(self, turn: RebuildTurn) -> None:
        with self._store.write() as transaction:
            if transaction.has_successors:
                transaction.apply([_are_successors(there=False)])
                turn.require(transaction.connection)


def _tables(turn: RebuildTurn) -> Sequence[sa.Table]:
    with turn.write() as connection:
        return _tables_beside(connection)


def _create(turn: RebuildTurn, table: sa.Table) -> None:
    with turn.write() as connection:
        table.create(connection)


def _leftovers(turn: RebuildTurn) -> Sequence[str]:
    with turn.write() as connection:
        return leftovers(connection)


def _remove_rows(turn: RebuildTurn, table: str, rows: int) -> float | None:
    """How long it took to remove so many rows; None where there is none to be removed."""
    began = time.perf_counter()
    with turn.write() as connection:
        has_removed = statements_of(connection).remove_rows(table, rows)
    return time.perf_counter() - began if has_removed else None


def _drop(turn: RebuildTurn, table: str) -> None:
    with turn.write() as connection:
        connection.exec_driver_sql(f"DROP TABLE {table}")


class SqlSuccessors:
    """Tables beside the live ones, from their first row to the taking of the names.

    Attributes:
        are_given_up: they never become the live ones. Set by any thread, and never taken back.
    """

    def __init__(self, store: SqlLedgerStore, turn: RebuildTurn, reader: Reader, run: RunWriting) -> None:
        self._store = store
        self._turn = turn
        self._reader = reader
        self._run = run
        self._joined_at = ""
        self._pace = FEWEST_ROWS
        self.are_given_up = False

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """What ``work`` makes of one snapshot of the ledger, in a thread for this alone."""
        return await self._reader.run(work)

    async def apply(self, changes: Sequence[Change]) -> None:
        """Change them, by few changes for many events, and in pieces between two commits of the ledger."""
        fewer = await asyncio.to_thread(lambda: for_successors(coalesced(changes)))
        while fewer:
            some, fewer = fewer[: self._pace], fewer[self._pace :]
            seconds = await self._run(lambda: self._make(some))  # noqa: B023 - awaited
            if fewer:
                self._pace = at_this_pace(len(some), seconds)

    def _make(self, changes: Sequence[Change]) -> float:
        """For how many seconds commits had to wait."""
        began = time.perf_counter()
        with self._turn.write() as connection:
            transaction, new = SqlTransaction(connection), list(_leading_inserts(changes))
            transaction.fill(new)
            transaction.make(changes[len(new) :])
        return time.perf_counter() - began

    async def join(self, last_changes: Callable[[Transaction], Sequence[Change]]) -> float:
        """Bring them to the head under the ledger's lock: from here on every commit changes them with the live ones."""

        def work() -> float:
            with self._store.write() as transaction:
                began = time.perf_counter()
                self._joined_at = transaction.name()
                transaction.apply([*for_successors(last_changes(transaction)), _are_successors(there=True)])
                self._turn.require(transaction.connection)
            return time.perf_counter() - began

        return await self._run(work)

    async def compare(self) -> Comparison:
        """Compare them with the live ones, in one snapshot and without a lock."""
        return await self._reader.query(lambda connection: compare(connection, connection, successor_of))

    async def switch(self) -> float:
        """Put them in the place of the live ones; for how many seconds the ledger's lock was held.

        A snapshot of a time before :meth:`join` would find them without their last rows, so whoever has one is waited
        for. Whoever reads the live ones is let go on: the names are taken between two reads.

        Raises:
            ReadersInTheWayError: readers did not end; nothing was changed.
        """
        for name in READ_MODELS:
            await self._run(lambda: self._analyze(successor_of(name)))  # noqa: B023 - awaited
        pauses = _pauses()
        for pause in pauses:
            if await self._reader.query(lambda found: statements_of(found).is_seen_by_all(self._joined_at)):
                break
            await asyncio.sleep(pause)
        for pause in pauses:
            seconds = await self._take_turn()
            if seconds is not None:
                return seconds
            await asyncio.sleep(pause)
        raise ReadersInTheWayError(f"others have been reading the read models for {SECONDS_FOR_READERS:.0f} seconds")

    async def _take_turn(self) -> float | None:
        """Take the names, where nobody breaks it off before its turn comes: what has begun is waited for."""
        taking = asyncio.ensure_future(self._run(self._take_the_names))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            self.are_given_up = True
            await asyncio.wait([taking])
            raise

    def _analyze(self, table: str) -> None:
        with self._turn.write() as connection:
            statements_of(connection).analyze(table)

    def _take_the_names(self) -> float | None:
        """For how long the lock was held; None where readers were in the way, or they lack commits by now."""
        try:
            with self._store.write() as transaction:
                if self.are_given_up:
                    return None
                are_of_this_version = transaction.moved_to() is not None
                if are_of_this_version:
                    _require_successors(transaction)
                began = time.perf_counter()
                live = READ_MODELS if are_of_this_version else _live(transaction.connection)
                transaction.hold([*map(successor_of, READ_MODELS), *live])
                for name in READ_MODELS:
                    pairs = [(name, _predecessor_of(name))] if name in live else []
                    for before, after in (*pairs, (successor_of(name), name)):
                        transaction.connection.exec_driver_sql(f"ALTER TABLE {before} RENAME TO {after}")
                if are_of_this_version:
                    transaction.apply([_are_successors(there=False)])
                else:
                    transaction.become_this_version()
                self._turn.require(transaction.connection)
        except ReadersInTheWayError:
            return None
        except BaseException:
            self.are_given_up = True  # whether the commit took place is not known, and they may be gone
            raise
        self.are_given_up = True
        return time.perf_counter() - began


def _require_successors(transaction: SqlTransaction) -> None:
    if not transaction.has_successors:
        raise StorageUnavailableError("the connection was lost, and another node has cleared up meanwhile")


def _leading_inserts(changes: Sequence[Change]) -> Iterator[Insert]:
    for change in changes:
        if not isinstance(change, Insert):
            return
        yield change


def _pauses() -> Iterator[float]:
    """Seconds to wait for readers, longer each time, until it has been long enough."""
    deadline, pause = time.monotonic() + SECONDS_FOR_READERS, FIRST_PAUSE
    while time.monotonic() < deadline:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


def at_this_pace(done: int, seconds: float) -> int:
    """How many there may be the next time, where so many took so long; at most twice as many."""
    return max(FEWEST_ROWS, min(2 * done, int(done * AIM / max(seconds, 1e-6))))


def leftovers(connection: sa.Connection) -> Sequence[str]:
    """The tables of a rebuild that was broken off, or whose end was."""
    names = _names(connection)
    return [name for table in READ_MODELS for name in (successor_of(table), _predecessor_of(table)) if name in names]


def _live(connection: sa.Connection) -> Collection[str]:
    """The read models that are there, where another version may have others."""
    return set(READ_MODELS).intersection(_names(connection))


def _names(connection: sa.Connection) -> Collection[str]:
    return sa.inspect(connection).get_table_names(statements_of(connection).read_schema())


def remove_leftovers(engine: sa.Engine) -> None:
    """Drop them, unless they are those of a rebuild that goes on. Blocks.

    Raises:
        StorageUnavailableError: the store is in trouble.
    """
    with unhurried(engine) as connection:
        if statements_of(connection).is_rebuilding():
            return
        transaction = SqlTransaction(connection)
        transaction.lock()
        if transaction.has_successors:
            transaction.apply([_are_successors(there=False)])
        for table in leftovers(connection):
            connection.exec_driver_sql(f"DROP TABLE {table}")


def _tables_beside(connection: sa.Connection) -> Sequence[sa.Table]:
    """The successors. An index has one of two names, whichever its predecessor has not: SQLite renames none."""
    inspected, beside, schema = sa.inspect(connection), sa.MetaData(), statements_of(connection).read_schema()
    taken = {index["name"] for table in _live(connection) for index in inspected.get_indexes(table, schema)}
    for name in READ_MODELS:
        live = METADATA.tables[name]
        live = live if schema is None else live.to_metadata(sa.MetaData(), schema=schema)
        successor = live.to_metadata(beside, name=successor_of(name))
        for index in successor.indexes:
            if index.name in taken:
                index.name = sa.sql.quoted_name(successor_of(str(index.name)), quote=None)
    return beside.sorted_tables
