"""The ledger's store: rows in under one lock, rows out without one."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, TypeVar, cast
from uuid import UUID

import msgspec
import sqlalchemy as sa

from chatledger.adapters.persistence.engine import storage_errors, to_driver
from chatledger.adapters.persistence.tables import METADATA
from chatledger.application.ledger.projections import READ_MODELS_VERSION
from chatledger.application.ports.storage import (
    Algorithm,
    Category,
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
REMEMBERED_STREAMS = 100_000

_SELECT_LOG = """
SELECT position, stream_id, category, version, event_id, name, schema, recorded_at, public, sealed, key_id, algorithm,
       context_position, context, leaf
FROM ledger WHERE position > ? ORDER BY position LIMIT ?
"""
_SELECT_STREAM = """
SELECT position, version, event_id, type, recorded_at, public, sealed, algorithm, context_position, context, leaf
FROM events WHERE stream = ? AND version > ? ORDER BY version LIMIT ?
"""
_NO_LIMIT = -1

PRIMARY_KEYS = {table.name: tuple(column.name for column in table.primary_key) for table in METADATA.tables.values()}

_RowKey = tuple[str, tuple[Any, ...]]

_UNIQUE_COLUMNS = {
    "end_user": ("end_users", ("app_id", "kind", "lookup")),
    "api_key": ("api_keys", ("key_hash",)),
    "operator_token": ("operator_tokens", ("token_hash",)),
}


@lru_cache(8_192)
def _shared_id(raw: bytes) -> UUID:
    """The id of a stream or a key: the same object for all its rows, since making one costs more than reading a row."""
    return UUID(bytes=raw)


def _optional_id(raw: bytes | None) -> UUID | None:
    return None if raw is None else _shared_id(raw)


class EventTypes:
    """The numbers under which names and schemas of events are stored."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, int], int] = {}
        self.names: dict[int, tuple[str, int]] = {}

    def add(self, number: int, name: str, schema: int) -> None:
        """Take note of one."""
        self.numbers[name, schema] = number
        self.names[number] = name, schema

    def copy(self) -> "EventTypes":
        """What a transaction may add to, and lose again."""
        copied = EventTypes()
        copied.numbers.update(self.numbers)
        copied.names.update(self.names)
        return copied


class StreamHead(msgspec.Struct, frozen=True):
    """A stream's number, and what is on record of it."""

    number: int
    stored: StoredStream


class SqlTransaction:
    """One transaction. Its statements go to the driver: they are few, hot, and the same each time.

    Attributes:
        types: the event types that it knows.
        heads: the streams that it has looked up or moved.
    """

    def __init__(
        self,
        connection: sa.Connection,
        types: EventTypes | None = None,
        known_heads: Mapping[UUID, StreamHead] = MappingProxyType({}),
    ) -> None:
        self._driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        self._known_heads = known_heads
        self._looked_up: set[UUID] = set()
        self.types = types or EventTypes()
        self.heads: dict[UUID, StreamHead] = {}

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
        self._look_up(stream_ids)
        return {stream_id: head.stored for stream_id in stream_ids if (head := self.heads.get(stream_id)) is not None}

    def _look_up(self, stream_ids: Iterable[UUID]) -> None:
        wanted = []
        for stream_id in stream_ids:
            if stream_id in self._looked_up:
                continue
            self._looked_up.add(stream_id)
            known = self._known_heads.get(stream_id)
            if known is None:
                wanted.append(to_driver(stream_id))
            else:
                self.heads[stream_id] = known
        for start in range(0, len(wanted), IDS_PER_STATEMENT):
            page = wanted[start : start + IDS_PER_STATEMENT]
            for stream_id, number, key_id, version in self._driver.execute(_select_streams(len(page)), page):
                stored = StoredStream(version or 0, _optional_id(key_id))
                self.heads[_shared_id(stream_id)] = StreamHead(number, stored)

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
        self._insert_many("events", _EVENT_COLUMNS, [self._event_values(row) for row in rows])
        for row in rows:
            number = self.heads[row.stream_id].number
            self.heads[row.stream_id] = StreamHead(number, StoredStream(row.version, row.key_id))
        last = rows[-1]
        self._driver.execute("UPDATE head SET position = ?, recorded_at = ?", (last.position, last.recorded_at))

    def _number_streams(self, rows: Sequence[EventRow]) -> None:
        self._look_up(row.stream_id for row in rows)
        new = {row.stream_id: row for row in rows if row.stream_id not in self.heads}
        if not new:
            return
        (last,) = self._driver.execute("SELECT last_stream FROM head").fetchone()
        values = []
        for number, row in enumerate(new.values(), last + 1):
            self.heads[row.stream_id] = StreamHead(number, StoredStream(0, row.key_id))
            values.append((number, to_driver(row.stream_id), row.category, to_driver(row.key_id)))
        self._insert_many("streams", ("number", "stream_id", "category", "key_id"), values)
        self._driver.execute("UPDATE head SET last_stream = ?", (last + len(new),))

    def _event_values(self, row: EventRow) -> tuple[Any, ...]:
        return (
            row.position,
            self.heads[row.stream_id].number,
            row.version,
            to_driver(row.event_id),
            self._type_number(row.name, row.schema),
            row.recorded_at,
            to_driver(row.public),
            to_driver(row.sealed),
            ALGORITHMS.index(row.algorithm),
            row.context_position,
            to_driver(row.context),
            to_driver(row.leaf),
        )

    def _type_number(self, name: str, schema: int) -> int:
        numbers = self.types.numbers
        if (name, schema) not in numbers:
            self._read_types()
        if (name, schema) not in numbers:
            number = len(numbers) + 1
            self._driver.execute(
                "INSERT INTO event_types (number, name, schema) VALUES (?, ?, ?)", (number, name, schema)
            )
            self.types.add(number, name, schema)
        return numbers[name, schema]

    def _read_types(self) -> None:
        for number, name, schema in self._driver.execute("SELECT number, name, schema FROM event_types"):
            self.types.add(number, name, schema)

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
        by_id = "SELECT number, category, key_id FROM streams WHERE stream_id = ?"
        stream = self._driver.execute(by_id, (to_driver(stream_id),)).fetchone()
        if stream is None:
            return []
        number, category, key_id = stream
        raw_id, names = stream_id.bytes, self.types.names
        rows: list[EventRow] = []
        select = self._driver.execute(_SELECT_STREAM, (number, after, limit))
        for position, version, event_id, kind, at, public, sealed, algorithm, place, context, leaf in select.fetchall():
            if kind not in names:
                self._read_types()
            name, schema = names[kind]
            row = _event_row(
                position, raw_id, category, version, event_id, name, schema, at, public, sealed, key_id, algorithm,
                place, context, leaf,
            )  # fmt: skip
            rows.append(row)
        return rows

    def read_log(self, after: int, limit: int) -> list[EventRow]:
        """Rows in order of position."""
        return [_event_row(*row) for row in self._driver.execute(_SELECT_LOG, (after, limit)).fetchall()]

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


def _event_row(  # noqa: PLR0917 - the columns of the view, in their order
    position: int,
    stream_id: bytes,
    category: Category,
    version: int,
    event_id: bytes,
    name: str,
    schema: int,
    recorded_at: int,
    public: bytes,
    sealed: bytes | None,
    key_id: bytes | None,
    algorithm: int,
    context_position: int,
    context: bytes | None,
    leaf: bytes,
) -> EventRow:
    return EventRow(
        position=position,
        stream_id=_shared_id(stream_id),
        category=category,
        version=version,
        event_id=UUID(bytes=event_id),
        name=name,
        schema=schema,
        recorded_at=recorded_at,
        public=public,
        sealed=sealed,
        key_id=_optional_id(key_id),
        algorithm=ALGORITHMS[algorithm],
        context_position=context_position,
        context=context,
        leaf=leaf,
    )


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
    """One writing engine, and a few reading connections in threads of their own.

    It remembers the heads of the streams that it has moved, since nobody else moves them: a file has one server.
    """

    def __init__(self, writer: sa.Engine, reader: "Reader") -> None:
        self._writer = writer
        self._reader = reader
        self._types = EventTypes()
        self._heads: dict[UUID, StreamHead] = {}

    @contextmanager
    def write(self) -> Iterator[SqlTransaction]:
        """A write transaction: committed at the end of the block, rolled back when it raises. Blocks.

        Raises:
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        with storage_errors(), self._writer.begin() as connection:
            transaction = SqlTransaction(connection, self._types.copy(), self._heads)
            yield transaction
        self._types = transaction.types
        if len(self._heads) > REMEMBERED_STREAMS:
            self._heads.clear()
        self._heads.update(transaction.heads)

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
        self._types = EventTypes()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ledger-reader")

    async def run(self, read: Callable[[SqlTransaction], T]) -> T:
        """The result of ``read``, in one snapshot."""

        def in_snapshot(connection: sa.Connection) -> T:
            return read(SqlTransaction(connection, self._types))

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
