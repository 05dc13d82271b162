"""One transaction on the ledger's store, on whichever database."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID

import msgspec
import sqlalchemy as sa

from chatledger.adapters.persistence.errors import storage_errors
from chatledger.adapters.persistence.statements import (
    EVENT_COLUMNS,
    SELECT_HEAD,
    HeadRow,
    Row,
    insert_rows,
    raw_columns,
    statements_of,
)
from chatledger.adapters.persistence.tables import METADATA, successor_of
from chatledger.application.ledger.projections import READ_MODELS, READ_MODELS_VERSION
from chatledger.application.ports.storage import (
    ALGORITHMS,
    LAST_POSITION,
    Beginning,
    Change,
    Delete,
    EventRow,
    Head,
    Increase,
    Insert,
    RawRow,
    RawRows,
    RowsStream,
    SchemaError,
    StoredStream,
    UniqueGuard,
    Update,
    Upsert,
)

IDS_PER_STATEMENT = 500

MOST_STREAMS_AT_HAND = 20_000

ROOM = 8 * 1024 * 1024
"""Bytes. Work that begins again with less on the disk is soon broken off again."""

_SELECT_ROWS = f"SELECT {', '.join(EVENT_COLUMNS)} FROM events WHERE "
_IN_THE_LOG = "position > ? ORDER BY position LIMIT ?"
_SELECT_LOG = _SELECT_ROWS + _IN_THE_LOG
_SELECT_CHANGES = f"""
{_SELECT_ROWS}position IN (
    SELECT position FROM ledger WHERE position > ? AND position <= ? AND (
        category IN ('app', 'webhook') OR category = 'end_user' AND version > 1 OR name = 'ConversationErased'
    )
) ORDER BY position
"""
_SELECT_STREAM = f"""
{_SELECT_ROWS}stream = ? AND version > ? AND position > ? AND position <= ? ORDER BY version LIMIT ?
"""

_SELECT_TIME = "SELECT recorded_at FROM events WHERE position = ?"

_SELECT_RUNNING = """
SELECT 1 FROM messages
WHERE fingerprint = ? AND end_user_id = ? AND ended_position IS NULL AND state <> 'stopping' AND created_at >= ? LIMIT 1
"""
_SELECT_KNOWN = "SELECT 1 FROM messages WHERE idempotency_key = ? AND end_user_id = ? AND created_at >= ? LIMIT 1"
_SELECT_REPLAY = """
SELECT 1 FROM messages WHERE replayed_from = ? AND (ended_position IS NULL OR state = 'completed') LIMIT 1
"""
_COUNT_UNFINISHED = "SELECT count(*) FROM messages WHERE app_id = ? AND ended_position IS NULL"
_COUNT_UNFINISHED_IN = "SELECT count(*) FROM messages WHERE conversation_id = ? AND ended_position IS NULL"

_SELECT_UNENDED = "SELECT 1 FROM messages WHERE end_user_id = ? AND ended_position IS NULL LIMIT 1"
_SELECT_CONVERSATION_AT_REST = """
SELECT 1 FROM conversations c WHERE c.conversation_id = ? AND c.updated_at < ?
AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = c.conversation_id AND m.ended_position IS NULL)
AND NOT EXISTS (SELECT 1 FROM legal_holds h WHERE h.end_user_id = c.end_user_id)
"""
_SELECT_FILE_AT_REST = """
SELECT 1 FROM files f WHERE f.file_id = ? AND f.created_at < ?
AND NOT EXISTS (SELECT 1 FROM file_references r WHERE r.file_id = f.file_id)
AND NOT EXISTS (SELECT 1 FROM legal_holds h WHERE h.end_user_id = f.end_user_id)
"""

READ_MODEL_VERSIONS = "read_model_versions"

_HOLD = "UPDATE read_model_versions SET position = position WHERE version = ?"
_LEAVE_AT = "UPDATE read_model_versions SET position = ? WHERE version = ?"

SUCCESSORS = {name: successor_of(name) for name in READ_MODELS}

PRIMARY_KEYS = {table.name: tuple(column.name for column in table.primary_key) for table in METADATA.tables.values()}
PRIMARY_KEYS |= {successor: PRIMARY_KEYS[name] for name, successor in SUCCESSORS.items()}

_RowKey = tuple[str, tuple[Any, ...]]

_UNIQUE_COLUMNS = {
    "end_user": ("end_users", ("app_id", "kind", "lookup")),
    "api_key": ("api_keys", ("key_hash",)),
    "operator_token": ("operator_tokens", ("token_hash",)),
    "checkpoint": ("checkpoints", ("number",)),
}


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
    """One transaction.

    Attributes:
        connection: for statements that are neither hot nor many.
        types: the event types that it knows.
        heads: the streams that it has looked up or moved.
        last: the last event that it has appended.
        has_successors: whether read models are made anew, and have come so far that both are moved; known under a lock.
    """

    def __init__(
        self,
        connection: sa.Connection,
        types: EventTypes | None = None,
        known_heads: Mapping[UUID, StreamHead] = MappingProxyType({}),
    ) -> None:
        self.connection = connection
        self._statements = statements_of(connection)
        self._known_heads = known_heads
        self._looked_up: set[UUID] = set()
        self._by_number: dict[int, RowsStream] = {}
        self._head: HeadRow | None = None
        self.types = types or EventTypes()
        self.heads: dict[UUID, StreamHead] = {}
        self.last: EventRow | None = None
        self.has_successors = False

    # The ledger

    def lock(self) -> None:
        """Wait for the ledger's lock, and hold it to the end: whoever writes comes here first."""
        self._head = self._statements.lock()
        self.has_successors = bool(self._head.has_successors)

    def head(self) -> Head:
        """Where the ledger ends."""
        head = self._read_head()
        if head.moved_to is None:
            raise SchemaError(
                f"the read models are of version {head.read_models}, this release writes {READ_MODELS_VERSION}: "
                "run `chatledger rebuild`"
            )
        if head.import_through is not None:
            raise SchemaError(
                f"an import into this ledger was interrupted at {head.position} of {head.import_through} events: "
                "run `chatledger import` with the same file again"
            )
        return Head(head.position, head.recorded_at)

    def position(self) -> int:
        """The last position of the ledger, whatever version its read models have."""
        return self._read_head().position

    def moved_to(self) -> int | None:
        """Up to which position this release's read models are moved; None where there are none."""
        head = self._read_head()
        return head.position if head.read_models == READ_MODELS_VERSION and head.moved_to is not None else head.moved_to

    def lags_behind(self) -> bool:
        """Whether this release's read models do not show all that is committed."""
        return self.moved_to() != self.position()

    def import_through(self) -> int | None:
        """The last position of an import that is not whole yet; None where there is no such import."""
        return self._read_head().import_through

    def _read_head(self) -> HeadRow:
        """What was read under the lock holds until something is written."""
        return self._head or self._read_head_anew()

    def _read_head_anew(self) -> HeadRow:
        return HeadRow(*self._statements.execute(SELECT_HEAD)[0])

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
                wanted.append(self._statements.value(stream_id))
            else:
                self.heads[stream_id] = known
        for start in range(0, len(wanted), IDS_PER_STATEMENT):
            page = wanted[start : start + IDS_PER_STATEMENT]
            for stream_id, number, key_id, version in self._statements.execute(_select_streams(len(page)), page):
                stored = StoredStream(version or 0, self._shared_id(key_id))
                self.heads[self._statements.shared_id(stream_id)] = StreamHead(number, stored)

    def _shared_id(self, raw: Any) -> UUID | None:
        return None if raw is None else self._statements.shared_id(raw)

    def holds(self, guard: UniqueGuard) -> bool:
        """Whether the guard's key is free."""
        table, columns = _UNIQUE_COLUMNS[guard.index]
        sql = f"SELECT 1 FROM {table} WHERE {_condition(columns)}"
        return not self._statements.execute(sql, self._values(guard.key))

    def is_running(self, end_user_id: UUID, fingerprint: str, since: int) -> bool:
        """Whether an equal request of this person, of this time or later, is unfinished."""
        return self._finds(_SELECT_RUNNING, fingerprint, end_user_id, since)

    def is_known(self, end_user_id: UUID, idempotency_key: str, since: int) -> bool:
        """Whether a message of this person, of this time or later, came with this key."""
        return self._finds(_SELECT_KNOWN, idempotency_key, end_user_id, since)

    def is_replayed(self, message_id: UUID) -> bool:
        """Whether a message that replays this one is unfinished or completed."""
        return self._finds(_SELECT_REPLAY, message_id)

    def unfinished(self, app_id: UUID) -> int:
        """How many messages of an app have no terminal event."""
        return self._count(_COUNT_UNFINISHED, app_id)

    def unfinished_in(self, conversation_id: UUID) -> int:
        """How many messages of a conversation have no terminal event."""
        return self._count(_COUNT_UNFINISHED_IN, conversation_id)

    def has_unended(self, end_user_id: UUID) -> bool:
        """Whether a message of this person has no terminal event."""
        return self._finds(_SELECT_UNENDED, end_user_id)

    def is_conversation_at_rest(self, conversation_id: UUID, before: int) -> bool:
        """Whether nothing has happened in a conversation since a time, nothing goes on in it, and nobody holds it."""
        return self._finds(_SELECT_CONVERSATION_AT_REST, conversation_id, before)

    def is_file_at_rest(self, file_id: UUID, before: int) -> bool:
        """Whether a file is from before a time, no conversation shows it, and nobody holds it."""
        return self._finds(_SELECT_FILE_AT_REST, file_id, before)

    def _finds(self, sql: str, *parameters: Any) -> bool:
        return bool(self._statements.execute(sql, self._values(parameters)))

    def _count(self, sql: str, of: UUID) -> int:
        count: int = self._statements.execute(sql, self._values((of,)))[0][0]
        return count

    def require_lock(self) -> None:
        """Pass where the ledger's lock is still held: a database takes it from whoever has stood still.

        Raises:
            StorageUnavailableError: it is not; what was found under it may not hold any more.
        """
        with storage_errors():
            self._statements.execute("SELECT 1")

    def try_out(self, *, with_room: bool) -> None:
        """Write what changes nothing, for the commit to show whether it can be written."""
        if with_room:
            self._statements.require_room(ROOM)
        self._statements.touch()

    def append(self, rows: Sequence[EventRow]) -> None:
        """Insert rows and move the head."""
        if not rows:
            return
        before = self._read_head()
        last_stream = before.last_stream
        streams = self._number_streams(rows, last_stream)
        events = [self._event_values(row) for row in rows]
        self.last = rows[-1]
        head = HeadRow(self.last.position, self.last.recorded_at, last_stream + len(streams), self._take_over(before))
        self._head = None
        self._statements.append(streams, events, head)
        for row in rows:
            number = self.heads[row.stream_id].number
            self.heads[row.stream_id] = StreamHead(number, StoredStream(row.version, row.key_id))

    def _take_over(self, head: HeadRow) -> int:
        """The version of the read models that move on with the head from here: this release's, if they are there."""
        if head.read_models == READ_MODELS_VERSION or head.moved_to != head.position:
            return head.read_models
        self._statements.execute(_LEAVE_AT, (head.position, head.read_models))
        return READ_MODELS_VERSION

    def _number_streams(self, rows: Sequence[EventRow], last_stream: int) -> list[Row]:
        """The rows of the streams that are new."""
        self._look_up(row.stream_id for row in rows)
        new = {row.stream_id: row for row in rows if row.stream_id not in self.heads}
        value = self._statements.value
        values: list[Row] = []
        for number, row in enumerate(new.values(), last_stream + 1):
            self.heads[row.stream_id] = StreamHead(number, StoredStream(0, row.key_id))
            values.append((number, value(row.stream_id), row.category, value(row.key_id)))
        return values

    def _event_values(self, row: EventRow) -> Row:
        value = self._statements.value
        return (
            row.position,
            self.heads[row.stream_id].number,
            row.version,
            value(row.event_id),
            self._type_number(row.name, row.schema),
            row.recorded_at,
            value(row.public),
            value(row.sealed),
            ALGORITHMS.index(row.algorithm),
            row.context_position,
            value(row.context),
            value(row.leaf),
        )

    def _type_number(self, name: str, schema: int) -> int:
        numbers = self.types.numbers
        if (name, schema) not in numbers:
            self._read_types()
        if (name, schema) not in numbers:
            number = len(numbers) + 1
            self._statements.execute(
                "INSERT INTO event_types (number, name, schema) VALUES (?, ?, ?)", (number, name, schema)
            )
            self.types.add(number, name, schema)
        return numbers[name, schema]

    def _read_types(self) -> None:
        for number, name, schema in self._statements.execute("SELECT number, name, schema FROM event_types"):
            self.types.add(number, name, schema)

    def has_taken_place(self, event: EventRow) -> bool:
        """Whether this very event is on the ledger at its position."""
        found = self._statements.execute("SELECT event_id FROM events WHERE position = ?", (event.position,))
        return bool(found) and self._statements.shared_id(found[0][0]) == event.event_id

    # Read models

    def apply(self, changes: Sequence[Change]) -> None:
        """Move read models and operational state, by as few statements as come to the same.

        Each step of the driver gives the interpreter's lock away, and a busy event loop is slow to give it back.
        """
        fewer = coalesced(changes)
        self.make(fewer)
        if self.has_successors:
            self.make(for_successors(fewer))

    def hold_read_models(self) -> int:
        """Keep others from moving this release's read models without the ledger's lock; up to where they are moved.

        Raises:
            SchemaError: there are none.
        """
        self._statements.execute(_HOLD, (READ_MODELS_VERSION,))
        self._head = self._read_head_anew()
        self.has_successors = bool(self._head.has_successors)
        self.head()
        return self.moved_to() or 0

    def move_read_models(self, changes: Sequence[Change], position: int) -> None:
        """Move this release's read models, which are held, to a position."""
        self.apply(changes)
        self._statements.execute(_LEAVE_AT, (position, READ_MODELS_VERSION))
        self._head = None

    def make(self, changes: Iterable[Change]) -> None:
        """Make changes one after the other, as they are; rows that are new side by side go in together."""
        self._head = None
        new: list[Insert] = []
        with self._statements.batch():
            for change in changes:
                if isinstance(change, Insert):
                    new.append(change)
                    continue
                self._insert(new)
                new.clear()
                self._change(change)
            self._insert(new)

    def fill(self, new: Iterable[Insert]) -> None:
        """Insert many rows."""
        for table, columns, rows in self._side_by_side(new):
            self._statements.fill(table, columns, rows)

    def _insert(self, new: Iterable[Insert]) -> None:
        for table, columns, rows in self._side_by_side(new):
            for sql, parameters in insert_rows(table, columns, rows):
                self._statements.execute(sql, parameters)

    def _side_by_side(self, new: Iterable[Insert]) -> list[tuple[str, tuple[str, ...], list[Row]]]:
        """Rows by their tables and columns."""
        rows: dict[tuple[str, tuple[str, ...]], list[Row]] = {}
        for insert in new:
            rows.setdefault((insert.table, tuple(insert.row)), []).append(tuple(self._values(insert.row.values())))
        return [(table, columns, some) for (table, columns), some in rows.items()]

    def _change(self, change: Update | Upsert | Delete | Increase) -> None:
        sql, parameters = _statement(change)
        self._statements.execute(sql, self._values(parameters))

    def _values(self, parameters: Iterable[Any]) -> list[Any]:
        return [self._statements.value(value) for value in parameters]

    def clear(self, tables: Iterable[str]) -> None:
        """Empty tables, which are not large."""
        for table in tables:
            self._statements.execute(f"DELETE FROM {METADATA.tables[table].name}")

    def become_this_version(self) -> None:
        """The read models were of another version, and are made anew: as this release's they are at the head."""
        self.clear([READ_MODEL_VERSIONS])
        row = {"version": READ_MODELS_VERSION, "position": self.position(), "has_successors": False}
        self.apply(
            [Insert(READ_MODEL_VERSIONS, row), Update("head", {"singleton": 1}, {"read_models": READ_MODELS_VERSION})]
        )

    def name(self) -> str:
        """What readers' snapshots tell it by from those that came before."""
        return self._statements.transaction_name()

    def hold(self, tables: Sequence[str]) -> None:
        """Keep everybody from these tables to the end of the transaction.

        Raises:
            ReadersInTheWayError: some read them, and do not end in a moment.
        """
        self._statements.hold(tables)

    # Reading in the same transaction

    def read_stream(
        self,
        stream_id: UUID,
        after: int = 0,
        limit: int | None = None,
        beyond: int = 0,
        up_to: int = LAST_POSITION,
    ) -> list[EventRow]:
        """The rows of a stream after a version, and between two positions; this transaction's included."""
        by_id = "SELECT number, category, key_id FROM streams WHERE stream_id = ?"
        stream = self._statements.execute(by_id, (self._statements.value(stream_id),))
        if not stream:
            return []
        number, category, key_id = stream[0]
        most = self._statements.no_limit if limit is None else limit
        found = self._statements.execute(_SELECT_STREAM, (number, after, beyond, up_to, most))
        return self._event_rows(found, {number: RowsStream(stream_id, category, self._shared_id(key_id))})

    def read_streams(self, wanted: Sequence[tuple[UUID, int]], most: int) -> list[list[EventRow]]:
        """For each stream and version the rows after it, so many versions on at most."""
        found: list[list[Row]] = [[] for _ in wanted]
        streams: dict[int, RowsStream] = {}
        for place, category, key_id, *event in self._statements.select_streams(wanted, most):
            found[place].append(tuple(event))
            streams[event[1]] = RowsStream(wanted[place][0], category, self._shared_id(key_id))
        return [self._event_rows(rows, streams) for rows in found]

    def read_log(self, after: int, limit: int) -> list[EventRow]:
        """Rows in order of position."""
        return self._log_rows(self._statements.execute(_SELECT_LOG, (after, limit)))

    def read_raw_log(self, after: int, limit: int) -> RawRows:
        """The same as they are stored."""
        select = f"SELECT {raw_columns(self._statements)} FROM events WHERE {_IN_THE_LOG}"
        return self._raw_log_rows(self._statements.execute(select, (after, limit)))

    def read_changes(self, after: int, up_to: int) -> list[EventRow]:
        """The rows between two positions that tell of changes to apps, people and webhooks, or of an erasure."""
        return [] if up_to <= after else self._log_rows(self._statements.execute(_SELECT_CHANGES, (after, up_to)))

    def read_at(self, positions: Sequence[int]) -> list[EventRow]:
        """The rows at these positions, in order of position."""
        rows: list[EventRow] = []
        for start in range(0, len(positions), IDS_PER_STATEMENT):
            page = positions[start : start + IDS_PER_STATEMENT]
            rows += self._log_rows(self._statements.execute(_select_at(len(page)), tuple(page)))
        return rows

    def _log_rows(self, found: Sequence[Row]) -> list[EventRow]:
        raw = self._raw_log_rows(found)
        return [raw.event(row) for row in raw.rows]

    def _raw_log_rows(self, found: Sequence[Row]) -> RawRows:
        """What the events of a stream share is read once: to join it to each of them takes as long as to read them."""
        if len(self._by_number) > MOST_STREAMS_AT_HAND:
            self._by_number = {}
        streams = self._by_number
        wanted = list({row[1] for row in found} - streams.keys())
        for start in range(0, len(wanted), IDS_PER_STATEMENT):
            page = wanted[start : start + IDS_PER_STATEMENT]
            for number, stream_id, category, key_id in self._statements.execute(_select_numbered(len(page)), page):
                stream = RowsStream(self._statements.shared_id(stream_id), category, self._shared_id(key_id))
                streams[number] = stream
        return self._raw_rows(found, streams)

    def _event_rows(self, found: Sequence[Row], streams: Mapping[int, RowsStream]) -> list[EventRow]:
        raw = self._raw_rows(found, streams)
        return [raw.event(row) for row in raw.rows]

    def _raw_rows(self, found: Sequence[Row], streams: Mapping[int, RowsStream]) -> RawRows:
        if not self.types.names.keys() >= {row[4] for row in found}:
            self._read_types()
        return RawRows(cast("Sequence[RawRow]", found), streams, self.types.names)

    def position_at(self, moment: int) -> int:
        """The last position that was recorded at a time or before: times never fall from one to the next."""
        low, high = 0, self.head().position
        while low < high:
            middle = (low + high + 1) // 2
            ((recorded_at,),) = self._statements.execute(_SELECT_TIME, (middle,))
            low, high = (middle, high) if recorded_at <= moment else (low, middle - 1)
        return low

    def beginnings(self, stream_ids: Collection[UUID]) -> Mapping[UUID, Beginning]:
        """What these streams began with, those of them that exist."""
        wanted, found = self._values(stream_ids), dict[UUID, Beginning]()
        for start in range(0, len(wanted), IDS_PER_STATEMENT):
            page = wanted[start : start + IDS_PER_STATEMENT]
            for stream_id, category, public in self._statements.execute(_select_beginnings(len(page)), page):
                found[self._statements.shared_id(stream_id)] = Beginning(category, public)
        return found

    def incarnation(self) -> UUID:
        """Which ledger this is."""
        return self._statements.shared_id(self._statements.execute("SELECT incarnation FROM head")[0][0])

    def context_at(self, positions: Sequence[int]) -> Mapping[int, bytes]:
        """The metadata that the rows at these positions hold."""
        found: dict[int, bytes] = {}
        for start in range(0, len(positions), IDS_PER_STATEMENT):
            page = positions[start : start + IDS_PER_STATEMENT]
            marks = ", ".join("?" * len(page))
            sql = f"SELECT position, context FROM events WHERE context IS NOT NULL AND position IN ({marks})"
            found.update((position, context) for position, context in self._statements.execute(sql, page))
        return found


@cache
def _select_streams(count: int) -> str:
    marks = ", ".join("?" * count)
    newest = "SELECT max(e.version) FROM events e WHERE e.stream = s.number"
    return f"SELECT s.stream_id, s.number, s.key_id, ({newest}) FROM streams s WHERE s.stream_id IN ({marks})"


@cache
def _select_numbered(count: int) -> str:
    marks = ", ".join("?" * count)
    return f"SELECT number, stream_id, category, key_id FROM streams WHERE number IN ({marks})"


@cache
def _select_at(count: int) -> str:
    return f"{_SELECT_ROWS}position IN ({', '.join('?' * count)}) ORDER BY position"


@cache
def _select_beginnings(count: int) -> str:
    marks = ", ".join("?" * count)
    first = "events e ON e.stream = s.number AND e.version = 1"
    return f"SELECT s.stream_id, s.category, e.public FROM streams s JOIN {first} WHERE s.stream_id IN ({marks})"


@cache
def _update(table: str, key: tuple[str, ...], columns: tuple[str, ...]) -> str:
    assignments = ", ".join(f"{column} = ?" for column in columns)
    return f"UPDATE {table} SET {assignments} WHERE {_condition(key)}"


@cache
def _upsert(table: str, key: tuple[str, ...], columns: tuple[str, ...], replaced: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(columns))
    assignments = ", ".join(f"{column} = excluded.{column}" for column in replaced)
    inserted = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
    action = f"UPDATE SET {assignments}" if replaced else "NOTHING"
    return f"{inserted} ON CONFLICT ({', '.join(key)}) DO {action}"


@cache
def _increase(table: str, key: tuple[str, ...], columns: tuple[str, ...]) -> str:
    marks = ", ".join("?" * (len(key) + len(columns)))
    sums = ", ".join(f"{column} = {table}.{column} + excluded.{column}" for column in columns)
    inserted = f"INSERT INTO {table} ({', '.join((*key, *columns))}) VALUES ({marks})"
    return f"{inserted} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sums}"


@cache
def _delete(table: str, key: tuple[str, ...]) -> str:
    return f"DELETE FROM {table} WHERE {_condition(key)}"


def coalesced(changes: Iterable[Change]) -> list[Change]:
    """Fewer changes that come to the same, in an order of their own.

    What happens to one row is one change, and new rows go first. From the first change of another kind on, a table's
    changes stay as they are.
    """
    inserted: dict[_RowKey, dict[str, Any]] = {}
    changed: dict[_RowKey, dict[str, Any]] = {}
    increased: dict[_RowKey, Counter[str]] = {}
    others: list[Change] = []
    one_by_one: set[str] = set()
    for change in changes:
        if isinstance(change, Increase):
            increased.setdefault((change.table, tuple(change.key.values())), Counter()).update(change.amounts)
        elif change.table in one_by_one:
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
    return [
        *(Insert(table, row) for (table, _), row in inserted.items()),
        *(Update(table, _key(table, key), values) for (table, key), values in changed.items()),
        *(Increase(table, _key(table, key), amounts) for (table, key), amounts in increased.items()),
        *others,
    ]


def _key(table: str, values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(PRIMARY_KEYS[table], values, strict=True))


def for_successors(changes: Iterable[Change]) -> list[Change]:
    """The same changes of read models, in those that are made anew."""
    return [
        msgspec.structs.replace(change, table=SUCCESSORS[change.table])
        for change in changes
        if change.table in SUCCESSORS
    ]


def _row_key(table: str, row: Mapping[str, Any]) -> _RowKey:
    return table, tuple([row[column] for column in PRIMARY_KEYS[table]])


def _condition(key: Iterable[str]) -> str:
    return " AND ".join(f"{column} = ?" for column in key)


def _statement(change: Update | Upsert | Delete | Increase) -> tuple[str, list[Any]]:
    match change:
        case Update(table, key, values):
            return _update(table, tuple(key), tuple(values)), [*values.values(), *key.values()]
        case Upsert(table, key, row, values):
            return _upsert(table, tuple(key), tuple(row), tuple(values)), list(row.values())
        case Increase(table, key, amounts):
            return _increase(table, tuple(key), tuple(amounts)), [*key.values(), *amounts.values()]
        case Delete(table, key):
            return _delete(table, tuple(key)), list(key.values())
