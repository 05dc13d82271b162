"""The ledger's store: rows in under one lock, rows out without one."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar, cast
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.engine import storage_errors, to_driver
from chatledger.adapters.persistence.tables import METADATA
from chatledger.application.ledger.projections import READ_MODELS_VERSION
from chatledger.application.ports.storage import (
    Algorithm,
    Change,
    Delete,
    EventRow,
    Head,
    Insert,
    SchemaError,
    StoredStream,
    UniqueGuard,
    Update,
    Upsert,
)

T = TypeVar("T")

ALGORITHMS: tuple[Algorithm, ...] = ("none", "aes-256-gcm")
"""Stored as the index in this tuple."""

ROWS_PER_STATEMENT = 64
IDS_PER_STATEMENT = 500

_SELECT = """
SELECT position, stream_id, category, version, event_id, name, schema, recorded_at, public, sealed, key_id, algorithm,
       context_position, context, leaf
FROM ledger
"""
_SELECT_STREAM = f"{_SELECT} WHERE stream_id = ? AND version > ? ORDER BY version LIMIT ?"
_SELECT_LOG = f"{_SELECT} WHERE position > ? ORDER BY position LIMIT ?"
_NO_LIMIT = -1

PRIMARY_KEYS = {table.name: tuple(column.name for column in table.primary_key) for table in METADATA.tables.values()}

_RowKey = tuple[str, tuple[Any, ...]]

_UNIQUE_COLUMNS = {
    "end_user": ("end_users", ("app_id", "kind", "lookup")),
    "api_key": ("api_keys", ("key_hash",)),
    "operator_token": ("operator_tokens", ("token_hash",)),
}


def _row(columns: Sequence[Any]) -> EventRow:
    position, stream_id, category, version, event_id, name, schema, recorded_at, public, sealed, *rest = columns
    key_id, algorithm, context_position, context, leaf = rest
    return EventRow(
        position=position,
        stream_id=UUID(bytes=stream_id),
        category=category,
        version=version,
        event_id=UUID(bytes=event_id),
        name=name,
        schema=schema,
        recorded_at=recorded_at,
        public=public,
        sealed=sealed,
        key_id=None if key_id is None else UUID(bytes=key_id),
        algorithm=ALGORITHMS[algorithm],
        context_position=context_position,
        context=context,
        leaf=leaf,
    )


class SqlTransaction:
    """One transaction. Its statements go to the driver: they are few, hot, and the same each time."""

    def __init__(self, connection: sa.Connection, type_numbers: Mapping[tuple[str, int], int]) -> None:
        self._driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        self._numbers: dict[UUID, int] = {}
        self._looked_up: set[UUID] = set()
        self.type_numbers = dict(type_numbers)

    # The ledger

    def head(self) -> Head:
        """Where the ledger ends."""
        position, recorded_at, read_models = self._driver.execute(
            "SELECT position, recorded_at, read_models FROM head"
        ).fetchone()
        if read_models != READ_MODELS_VERSION:
            raise SchemaError(
                f"the read models are of version {read_models}, this release writes {READ_MODELS_VERSION}: "
                "run `chatledger rebuild`"
            )
        return Head(position, recorded_at)

    def streams(self, stream_ids: Collection[UUID]) -> Mapping[UUID, StoredStream]:
        """Those of the streams that exist."""
        found = {}
        self._looked_up.update(stream_ids)
        wanted = [stream_id.bytes for stream_id in stream_ids]
        for start in range(0, len(wanted), IDS_PER_STATEMENT):
            page = wanted[start : start + IDS_PER_STATEMENT]
            for stream_id, number, key_id, version in self._driver.execute(_select_streams(len(page)), page):
                known = UUID(bytes=stream_id)
                self._numbers[known] = number
                found[known] = StoredStream(version or 0, None if key_id is None else UUID(bytes=key_id))
        return found

    def holds(self, guard: UniqueGuard) -> bool:
        """Whether the guard's key is free."""
        table, columns = _UNIQUE_COLUMNS[guard.index]
        sql = f"SELECT 1 FROM {table} WHERE {_condition(columns)}"
        return self._driver.execute(sql, [to_driver(value) for value in guard.key]).fetchone() is None

    def append(self, rows: Sequence[EventRow]) -> None:
        """Insert rows and move the head."""
        if not rows:
            return
        self._number_streams(rows)
        values = [self._event_values(row) for row in rows]
        self._insert_many("events", _EVENT_COLUMNS, values)
        last = rows[-1]
        self._driver.execute("UPDATE head SET position = ?, recorded_at = ?", (last.position, last.recorded_at))

    def _number_streams(self, rows: Sequence[EventRow]) -> None:
        unknown = {row.stream_id: row for row in reversed(rows) if row.stream_id not in self._numbers}
        self.streams(unknown.keys() - self._looked_up)
        new = [row for stream_id, row in reversed(unknown.items()) if stream_id not in self._numbers]
        if not new:
            return
        (last,) = self._driver.execute("SELECT last_stream FROM head").fetchone()
        values = []
        for number, row in enumerate(new, last + 1):
            self._numbers[row.stream_id] = number
            key_id = None if row.key_id is None else row.key_id.bytes
            values.append((number, row.stream_id.bytes, row.category, key_id))
        self._insert_many("streams", ("number", "stream_id", "category", "key_id"), values)
        self._driver.execute("UPDATE head SET last_stream = ?", (last + len(new),))

    def _event_values(self, row: EventRow) -> tuple[Any, ...]:
        return (
            row.position,
            self._numbers[row.stream_id],
            row.version,
            row.event_id.bytes,
            self._type_number(row.name, row.schema),
            row.recorded_at,
            row.public,
            row.sealed,
            ALGORITHMS.index(row.algorithm),
            row.context_position,
            row.context,
            row.leaf,
        )

    def _type_number(self, name: str, schema: int) -> int:
        if (name, schema) not in self.type_numbers:
            for number, known_name, known_schema in self._driver.execute(
                "SELECT number, name, schema FROM event_types"
            ):
                self.type_numbers[known_name, known_schema] = number
        if (name, schema) not in self.type_numbers:
            number = len(self.type_numbers) + 1
            self._driver.execute(
                "INSERT INTO event_types (number, name, schema) VALUES (?, ?, ?)", (number, name, schema)
            )
            self.type_numbers[name, schema] = number
        return self.type_numbers[name, schema]

    # Read models

    def apply(self, changes: Sequence[Change]) -> None:
        """Move read models and operational state.

        What happens to one row in one transaction is one statement, and new rows go first, many to a statement: each
        step of the driver gives the interpreter's lock away, and a busy event loop is slow to give it back. From the
        first change of another kind on, a table's changes are made one by one in their order.
        """
        inserted: dict[_RowKey, dict[str, Any]] = {}
        changed: dict[_RowKey, dict[str, Any]] = {}
        others: list[Change] = []
        one_by_one: set[str] = set()
        for change in changes:
            if change.table in one_by_one:
                others.append(change)
            elif isinstance(change, Insert) and (key := _row_key(change.table, change.row)) not in inserted:
                changed.pop(key, None)
                inserted[key] = dict(change.row)
            elif isinstance(change, Update) and tuple(change.key) == PRIMARY_KEYS[change.table]:
                key = (change.table, tuple(change.key.values()))
                row = inserted.get(key)
                (changed.setdefault(key, {}) if row is None else row).update(change.values)
            else:
                one_by_one.add(change.table)
                others.append(change)
        self._insert_rows(inserted)
        for (table, key), values in changed.items():
            self._change(Update(table, dict(zip(PRIMARY_KEYS[table], key, strict=True)), values))
        for change in others:
            if isinstance(change, Insert):
                self._insert_rows({_row_key(change.table, change.row): change.row})
            else:
                self._change(change)

    def _insert_rows(self, inserted: Mapping[_RowKey, dict[str, Any]]) -> None:
        pages: dict[tuple[str, tuple[str, ...]], list[tuple[Any, ...]]] = {}
        for (table, _), row in inserted.items():
            values = tuple([to_driver(value) for value in row.values()])
            pages.setdefault((table, tuple(row)), []).append(values)
        for (table, columns), rows in pages.items():
            self._insert_many(table, columns, rows)

    def _change(self, change: Update | Upsert | Delete) -> None:
        sql, parameters = _statement(change)
        self._driver.execute(sql, [to_driver(value) for value in parameters])

    def clear(self, tables: Iterable[str]) -> None:
        """Empty read models, to replay them."""
        for table in tables:
            self._driver.execute(f"DELETE FROM {METADATA.tables[table].name}")

    def _insert_many(self, table: str, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            page = rows[start : start + ROWS_PER_STATEMENT]
            self._driver.execute(_insert(table, columns, len(page)), [value for row in page for value in row])

    # Reading in the same transaction

    def read_stream(self, stream_id: UUID, after: int = 0, limit: int = _NO_LIMIT) -> list[EventRow]:
        """All rows of a stream, this transaction's included."""
        return [_row(row) for row in self._driver.execute(_SELECT_STREAM, (stream_id.bytes, after, limit)).fetchall()]

    def read_log(self, after: int, limit: int) -> list[EventRow]:
        """Rows in order of position."""
        return [_row(row) for row in self._driver.execute(_SELECT_LOG, (after, limit)).fetchall()]

    def context_at(self, positions: Sequence[int]) -> Mapping[int, bytes]:
        """The metadata that the rows at these positions hold."""
        found: dict[int, bytes] = {}
        for start in range(0, len(positions), IDS_PER_STATEMENT):
            page = positions[start : start + IDS_PER_STATEMENT]
            marks = ", ".join("?" * len(page))
            found.update(
                self._driver.execute(
                    f"SELECT position, context FROM events WHERE context IS NOT NULL AND position IN ({marks})", page
                ).fetchall()
            )
        return found


_EVENT_COLUMNS = (
    "position",
    "stream",
    "version",
    "event_id",
    "type",
    "recorded_at",
    "public",
    "sealed",
    "algorithm",
    "context_position",
    "context",
    "leaf",
)


@cache
def _select_streams(count: int) -> str:
    marks = ", ".join("?" * count)
    newest = "SELECT max(e.version) FROM events e WHERE e.stream = s.number"
    return f"SELECT s.stream_id, s.number, s.key_id, ({newest}) FROM streams s WHERE s.stream_id IN ({marks})"


@cache
def _insert(table: str, columns: tuple[str, ...], count: int) -> str:
    marks = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([marks] * count)}"


@cache
def _update(table: str, key: tuple[str, ...], columns: tuple[str, ...]) -> str:
    assignments = ", ".join(f"{column} = ?" for column in columns)
    return f"UPDATE {table} SET {assignments} WHERE {_condition(key)}"


@cache
def _upsert(table: str, key: tuple[str, ...], columns: tuple[str, ...], replaced: tuple[str, ...]) -> str:
    assignments = ", ".join(f"{column} = excluded.{column}" for column in replaced)
    return f"{_insert(table, columns, 1)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {assignments}"


@cache
def _delete(table: str, key: tuple[str, ...]) -> str:
    return f"DELETE FROM {table} WHERE {_condition(key)}"


def _row_key(table: str, row: Mapping[str, Any]) -> _RowKey:
    return table, tuple([row[column] for column in PRIMARY_KEYS[table]])


def _condition(key: Iterable[str]) -> str:
    return " AND ".join(f"{column} = ?" for column in key)


def _statement(change: Update | Upsert | Delete) -> tuple[str, list[Any]]:
    match change:
        case Update(table, key, values):
            return _update(table, tuple(key), tuple(values)), [*values.values(), *key.values()]
        case Upsert(table, key, row, values):
            return _upsert(table, tuple(key), tuple(row), tuple(values)), list(row.values())
        case Delete(table, key):
            return _delete(table, tuple(key)), list(key.values())


class SqlLedgerStore:
    """One writing engine, and a few reading connections in threads of their own."""

    def __init__(self, writer: sa.Engine, reader: "Reader") -> None:
        self._writer = writer
        self._reader = reader
        self._type_numbers: dict[tuple[str, int], int] = {}

    @contextmanager
    def write(self) -> Iterator[SqlTransaction]:
        """A write transaction: committed at the end of the block, rolled back when it raises. Blocks.

        Raises:
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with storage_errors(), self._writer.begin() as connection:
            transaction = SqlTransaction(connection, self._type_numbers)
            yield transaction
        self._type_numbers = transaction.type_numbers

    async def stream(
        self, stream_id: UUID, decode: Callable[[Sequence[EventRow]], T], *, after: int = 0, limit: int | None = None
    ) -> T:
        """Committed rows of one stream in order of version. ``decode`` runs off the event loop."""
        most = _NO_LIMIT if limit is None else limit
        return await self._reader.run(lambda tx: decode(tx.read_stream(stream_id, after, most)))

    async def log(self, decode: Callable[[Sequence[EventRow]], T], *, after: int, limit: int) -> T:
        """Committed rows in order of position. ``decode`` runs off the event loop."""
        return await self._reader.run(lambda tx: decode(tx.read_log(after, limit)))

    async def context_at(self, positions: Iterable[int]) -> Mapping[int, bytes]:
        """The metadata that these rows hold."""
        wanted = sorted(set(positions))
        return await self._reader.run(lambda tx: tx.context_at(wanted))

    async def head(self) -> Head:
        """Where the ledger ends."""
        return await self._reader.run(lambda tx: tx.head())

    async def close(self) -> None:
        """Release every connection."""
        self._reader.close()
        self._writer.dispose()


class Reader:
    """Runs blocking reads in threads of its own, each on a connection that cannot write."""

    def __init__(self, engine: sa.Engine, threads: int = 4) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ledger-reader")

    async def run(self, read: Callable[[SqlTransaction], T]) -> T:
        """The result of ``read``, in one snapshot."""

        def in_snapshot(connection: sa.Connection) -> T:
            return read(SqlTransaction(connection, {}))

        return await self.query(in_snapshot)

    async def query(self, read: Callable[[sa.Connection], T]) -> T:
        """The result of ``read``, in one snapshot.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """

        def work() -> T:
            with storage_errors(), self._engine.begin() as connection:
                return read(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """End the threads and release the connections."""
        self._threads.shutdown(wait=True)
        self._engine.dispose()
