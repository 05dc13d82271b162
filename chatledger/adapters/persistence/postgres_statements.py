"""What is asked of PostgreSQL, and how."""

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from itertools import count, islice
from typing import Any, LiteralString, cast
from uuid import UUID

import psycopg
import sqlalchemy as sa

from chatledger.adapters.persistence.statements import EVENT_COLUMNS, SELECT_HEAD, HeadRow, Row
from chatledger.adapters.postgres_connections import SESSION, BoundedConnection
from chatledger.application.ledger.projections import READ_MODELS_VERSION
from chatledger.application.ports.read_models import ReadersInTheWayError

ROWS_PER_CHUNK = 250
"""Of a stream: what the driver takes at a time."""

COPY_FROM = 64
"""Events in one commit from which on COPY is cheaper than one call with arrays."""


def read_schema(version: int) -> str:
    """What gives the name of the schema that the read models of a version lie in."""
    return f"current_schema() || '_read_{version:d}'"


_REBUILD = "hashtextextended('chatledger rebuild of ' || current_schema(), 0)"
_HAS_REBUILD_LOCK = f"""
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid = ?
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (classid::bigint << 32) | objid::bigint = {_REBUILD}
)
"""  # noqa: S608 - a constant of our own

NODES = "hashtext('chatledger nodes of ' || current_schema())"
"""The first half of the locks that nodes share, one for each version of read models."""
VERSIONS_IN_USE = f"""
SELECT DISTINCT objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid::bigint = {NODES}::bigint & 4294967295
"""  # noqa: S608 - a constant of our own


@cache
def _marked(sql: str) -> LiteralString:
    return cast("LiteralString", sql.replace("?", "%s"))


_BEGIN = "SELECT ledger_lock()"

_APPEND = cast(
    "LiteralString",
    "SELECT ledger_append(%s::bigint[], %s::uuid[], %s::text[], %s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], "
    "%s::uuid[], %s::bigint[], %s::bigint[], %s::bytea[], %s::bytea[], %s::smallint[], %s::bigint[], %s::bytea[], "
    "%s::bytea[], %s::bigint, %s::bigint, %s::bigint, %s::bigint)",
)
_STREAM_WIDTH = 4

# Of files that a statement spills to: a table would be catalogued, and on a full disk the log has no room for that.
_TAKE_ROOM = """
WITH room AS MATERIALIZED (SELECT repeat('x', 1900) AS piece FROM generate_series(1, ?::int))
SELECT count(piece) FROM room
"""
_SPILL: LiteralString = (
    "SELECT set_config('work_mem', '64kB', true), set_config('temp_tablespaces', '', true), "
    "(SELECT setting::bigint * 1024 FROM pg_settings WHERE name = 'temp_file_limit')"
)
_SELECT_STREAMS = f"""
SELECT wanted.place, category, key_id, {", ".join(EVENT_COLUMNS)}
FROM unnest(?::uuid[], ?::bigint[]) WITH ORDINALITY AS wanted (stream_id, after, place)
JOIN streams USING (stream_id)
JOIN events ON stream = number AND version > after AND version <= after + ?::bigint
ORDER BY place, version
"""  # noqa: S608 - names of our own
_COPY = cast("LiteralString", f"COPY events ({', '.join(EVENT_COLUMNS)}) FROM STDIN (FORMAT BINARY)")
_COPY_TYPES = (
    "int8", "int8", "int8", "uuid", "int8", "int8", "bytea", "bytea", "int2", "int8", "bytea", "bytea",
)  # fmt: skip


_IS_SEEN_BY_ALL = """
SELECT NOT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND usesysid IS NOT NULL AND pid <> pg_backend_pid()
          AND age(backend_xmin) >= age(?::text::xid8::xid)
)
"""
_TIME_FOR_LOCKS: LiteralString = "SELECT set_config('statement_timeout', '50ms', true)"
"""Enough for usual reads to end, and less than what the server takes to look for a deadlock: it would let one of the
readers fail."""
_CURSORS = count(1)
_TYPES: dict[str, list[int]] = {}
"""Of what is copied into our own tables, by the statement: built-in types have the same number in each database."""
_SHARE_SNAPSHOT = "SELECT pg_export_snapshot(), set_config('idle_in_transaction_session_timeout', ?, true)"
_USUAL_TIME = cast("LiteralString", f"SELECT set_config('statement_timeout', '{SESSION['statement_timeout']}', true)")


class PostgresStatements:
    """The statements of a connection to PostgreSQL. Each is a round trip, unless they are run in a batch."""

    no_limit: int | None = None

    def __init__(self, connection: sa.Connection) -> None:
        self._engine = connection.engine
        self._driver = cast("BoundedConnection", connection.connection.driver_connection)

    @property
    def is_lost(self) -> bool:
        """Whether the database went away under the connection."""
        return self._driver.closed

    @staticmethod
    def value(value: Any) -> Any:
        """A parameter as it is: the driver knows ids and bytes."""
        return value

    @staticmethod
    def id_as_bytes(column: str) -> str:
        """The driver would make a UUID of each."""
        return f"uuid_send({column})"

    @staticmethod
    def shared_id(raw: UUID) -> UUID:
        """An id, which the driver has made already."""
        return raw

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Sequence[Row]:
        """Run a statement; its rows, but for a batch, in which nobody waits for them."""
        cursor = self._driver.execute(_marked(sql), parameters or None, binary=True)
        if self._driver.pgconn.pipeline_status or cursor.description is None:
            return ()
        return cursor.fetchall()

    def pages(self, sql: str, size: int) -> Generator[Sequence[Row], None, None]:
        """Its rows, so many at a time. The server would send all of them at once, had the cursor no name."""
        with self._driver.cursor(f"pages_{next(_CURSORS)}", binary=True) as cursor:
            cursor.execute(_marked(sql))
            while page := cursor.fetchmany(size):
                yield page

    def pages_ahead(self, sql: str, size: int) -> Generator[Sequence[Row], None, None]:
        """The same, as one stream, which takes another connection: it sends until the network holds no more."""
        chunk = ROWS_PER_CHUNK if psycopg.capabilities.has_stream_chunked() else 1
        with self._in_same_snapshot() as other:
            stream = other.cursor().stream(_marked(sql), binary=True, size=chunk)
            with closing(cast("Generator[Row, None, None]", stream)) as rows:
                while page := list(islice(rows, size)):
                    yield page

    @contextmanager
    def _in_same_snapshot(self) -> Iterator[BoundedConnection]:
        """Another connection, for one statement of any length. This one may wait for its next statement meanwhile.

        Whoever takes nothing more for as long as a connection has patience is let go of, and the snapshot with it.
        """
        patience = f"{self._driver.patience:.0f}s"
        ((snapshot, _),) = self.execute(_SHARE_SNAPSHOT, (patience,))
        with self._engine.connect() as connection:
            other = cast("BoundedConnection", connection.connection.driver_connection)
            other.execute(cast("LiteralString", f"SET TRANSACTION SNAPSHOT '{snapshot}'"))
            other.execute("SET LOCAL statement_timeout TO 0")
            other.execute("SELECT set_config('tcp_user_timeout', %s, true)", (patience,))
            yield other

    def batch(self) -> AbstractContextManager[object]:
        """One round trip for all statements run inside."""
        return self._driver.pipeline()

    def lock_schema(self) -> None:
        """Wait for whoever changes the schema, and hold others off to the end of the transaction."""
        self._driver.execute("SELECT pg_advisory_xact_lock(hashtextextended('chatledger schema', 0))")

    def lock(self) -> HeadRow:
        """Wait for the ledger's lock, then read the head: two statements, for a snapshot is taken before the wait."""
        with self._driver.pipeline():
            self._driver.execute(_BEGIN)
            head = self._driver.execute(cast("LiteralString", SELECT_HEAD))
        found = head.fetchone()
        return HeadRow(*found) if found else HeadRow(0, 0, 0, 0)

    def touch(self) -> None:
        """A new version of the same row."""
        self._driver.execute("UPDATE head SET position = position")

    def require_room(self, room: int) -> None:
        """By taking it for a moment, as far as that is allowed: the server tells nobody how full its disk is.

        Raises:
            psycopg.Error: there is less.
        """
        (*_, limit), *_ = self.execute(_SPILL)
        most = room if limit < 0 else min(room, limit // 2)
        self.execute(_TAKE_ROOM, (most // 2_000,))

    def select_streams(self, wanted: Sequence[tuple[UUID, int]], most: int) -> Sequence[Row]:
        """Events of many streams, in one statement; the places count from 1."""
        found = self.execute(_SELECT_STREAMS, (*map(list, zip(*wanted, strict=True)), most))
        return [(row[0] - 1, *row[1:]) for row in found]

    def scrub(self) -> bool:
        """Nothing: the server's log is the server's."""
        return True

    def append(self, streams: Sequence[Row], events: Sequence[Row], head: HeadRow) -> None:
        """Insert new streams and events, move the head, and NOTIFY: in one call, or by COPY where there are many."""
        called = events
        if len(events) >= COPY_FROM:
            called = ()
            with self._driver.cursor() as cursor, cursor.copy(_COPY) as copy:
                copy.set_types(_COPY_TYPES)
                for event in events:
                    copy.write_row(event)
        columns = [*_columns(streams, _STREAM_WIDTH), *_columns(called, len(EVENT_COLUMNS))]
        self._driver.execute(_APPEND, [*columns, head.position, head.recorded_at, head.last_stream, head.read_models])

    def read_schema(self, version: int = READ_MODELS_VERSION) -> str | None:
        """A schema for this version."""
        ((schema,),) = self.execute(f"SELECT {read_schema(version)}")
        return str(schema)

    def versions_in_use(self) -> Collection[int]:
        """As the locks of writing connections tell."""
        return [version for (version,) in self.execute(VERSIONS_IN_USE)]

    def holds_alone(self, version: int) -> bool:
        """By the lock that they would share."""
        ((is_taken,),) = self.execute(f"SELECT pg_try_advisory_xact_lock({NODES}, ?::int)", (version,))
        return bool(is_taken)

    def try_to_rebuild(self) -> int | None:
        """By a lock of the connection's; whoever has it gets it once more."""
        ((is_taken, process),) = self.execute(f"SELECT pg_try_advisory_lock({_REBUILD}), pg_backend_pid()")
        return int(process) if is_taken else None

    def is_rebuilt_by(self, rebuilder: int) -> bool:
        """Whether its connection has that lock: one that was lost is made anew without."""
        ((has_lock,),) = self.execute(_HAS_REBUILD_LOCK, (rebuilder,))
        return bool(has_lock)

    def end_rebuild(self) -> None:
        """Give that lock back: a connection that is closed keeps it until the server takes note."""
        self.execute(f"SELECT pg_advisory_unlock({_REBUILD})")

    def is_rebuilding(self) -> bool:
        """Whether another connection has that lock."""
        ((is_free,),) = self.execute(f"SELECT pg_try_advisory_xact_lock({_REBUILD})")
        return not is_free

    def transaction_name(self) -> str:
        """Its number, which it gets by being asked for it."""
        ((number,),) = self.execute("SELECT pg_current_xact_id()::text")
        return str(number)

    def is_seen_by_all(self, transaction_name: str) -> bool:
        """Whether every snapshot began after a transaction.

        To an older one the rows of later transactions are missing, in a table that has got its name since too: names
        are read as they are now.
        """
        ((found,),) = self.execute(_IS_SEEN_BY_ALL, (transaction_name,))
        return bool(found)

    def hold(self, tables: Sequence[str]) -> None:
        """Take the locks that a change of a name needs. Later readers wait behind who waits for them: not for long.

        Raises:
            ReadersInTheWayError: readers have not let go of them in time.
        """
        try:
            self._driver.execute(_TIME_FOR_LOCKS)
            self._driver.execute(cast("LiteralString", f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE"))
            self._driver.execute(_USUAL_TIME)
        except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
            raise ReadersInTheWayError("the read models are being read") from error

    def fill(self, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
        """Insert many rows, by COPY."""
        names = ", ".join(columns)
        copying = cast("LiteralString", f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)")
        with self._driver.cursor() as cursor:
            if copying not in _TYPES:
                cursor.execute(cast("LiteralString", f"SELECT {names} FROM {table} LIMIT 0"))  # noqa: S608 - names of our own
                _TYPES[copying] = [column.type_code for column in cursor.description or ()]
            with cursor.copy(copying) as copy:
                copy.set_types(_TYPES[copying])
                for row in rows:
                    copy.write_row(row)

    def analyze(self, table: str) -> None:
        """As the server itself would some time later."""
        self._driver.execute(cast("LiteralString", f"ANALYZE {table}"))

    def remove_rows(self, table: str, most: int) -> bool:  # noqa: ARG002 - nobody waits for a file to be removed
        """False: a table is a file."""
        return False


def _columns(rows: Sequence[Row], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
