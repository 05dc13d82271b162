"""PostgreSQL: one ledger in the schema that a connection begins with, and any number of processes."""

import time
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from itertools import count, islice
from typing import Any, Literal, LiteralString, cast
from uuid import UUID

import psycopg
import sqlalchemy as sa

from chatledger.adapters.persistence.database import Durability, Wake
from chatledger.adapters.persistence.statements import EVENT_COLUMNS, SELECT_HEAD, HeadRow, Row
from chatledger.adapters.postgres_connections import (
    PATIENCE,
    SESSION,
    BoundedConnection,
    PostgresAddress,
    PostgresListener,
    end_if_still,
    require_durable,
)
from chatledger.application.ledger.projections import READ_MODELS_VERSION
from chatledger.application.ports.read_models import ReadersInTheWayError
from chatledger.application.ports.storage import StoreBusyError

ROWS_PER_CHUNK = 250
"""Of a stream: what the driver takes at a time."""

COPY_FROM = 64
"""Events in one commit from which on COPY is cheaper than one call with arrays."""

SECONDS_TO_BE_ALONE = 3
"""A server that was killed lets go of its lock once the database has noticed."""
SECONDS_TO_BE_A_NODE = 5
"""Who waits to be alone stands before a node that comes later, and gives up sooner."""

_DURABLE: LiteralString = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
)


def _read_schema(version: int) -> str:
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

# Behind the ledger's own schema, so that this one stays the current one; before any that a host has in its path.
_FIND_READ_MODELS = cast(
    "LiteralString",
    "SELECT set_config('search_path', concat_ws(', ', quote_ident(current_schema()), "
    f"quote_ident({_read_schema(READ_MODELS_VERSION)}), nullif(current_setting('search_path'), '')), false)",
)

SECONDS_TO_BE_NOTICED = 2.0
"""What nodes of another release may take to notice a new one, by their looks or by its writing connection."""

_NODES = "hashtext('chatledger nodes of ' || current_schema())"
_COME = cast("LiteralString", f"SELECT pg_advisory_lock_shared({_NODES}, {READ_MODELS_VERSION})")
_VERSIONS_IN_USE = f"""
SELECT DISTINCT objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid::bigint = {_NODES}::bigint & 4294967295
"""  # noqa: S608 - a constant of our own

_THE_SERVERS_LOCK = "hashtextextended('chatledger server of ' || current_schema(), 0)"

_IS_HELD_BY_A_SERVER: LiteralString = """
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock' AND objsubid = 1
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (classid::bigint << 32) | objid::bigint
              = hashtextextended('chatledger server of ' || current_schema(), 0)
)
"""

Holding = Literal["alone", "as a node"]
"""How a server has the ledger: it alone, or beside others that have it in this way."""


def _take_the_lock(function: str, seconds: float) -> LiteralString:
    return cast(
        "LiteralString",
        f"SELECT set_config('lock_timeout', '{seconds}s', false), {function}({_THE_SERVERS_LOCK}), "
        f"set_config('lock_timeout', '{SESSION['lock_timeout']}', false)",
    )


_TAKE_THE_SERVERS_LOCK: dict[Holding, LiteralString] = {
    "alone": _take_the_lock("pg_advisory_lock", SECONDS_TO_BE_ALONE),
    "as a node": _take_the_lock("pg_advisory_lock_shared", SECONDS_TO_BE_A_NODE),
}


class PostgresDatabase:
    """A ledger in PostgreSQL.

    Every write waits for the ledger's advisory lock, so positions have no gap and commits come in their order. A commit
    is on the disk when it is acknowledged, whatever ``synchronous_commit`` the role or the database has;
    ``relaxed`` durability only lets a server pass that runs without ``fsync``.
    """

    def __init__(self, url: str, durability: Durability = "full") -> None:
        self._durability = durability
        self._address = PostgresAddress(url)

    has_one_writer = False

    @property
    def place(self) -> str:
        """The server and the database, without user and password."""
        return self._address.place

    def exists(self) -> bool:
        """True: whether there is a ledger in it, the schema's revision tells."""
        return True

    def require_free(self, *, as_node: bool = False) -> None:
        """Pass where a server could begin, or a node beside others.

        Raises:
            StoreBusyError: another one has it.
            StorageUnavailableError: the database cannot be reached.
            SchemaError: it cannot keep what a ledger promises.
        """
        with self._address.connect() as connection:
            require_durable(connection, self._durability)
            _take_the_servers_lock(connection, self.place, "as a node" if as_node else "alone")

    @contextmanager
    def alone(self) -> Iterator[sa.Engine]:
        """One writing connection that holds the server's lock for as long as it lives.

        A connection that is made anew takes it anew: nobody writes as the server without having it.

        Raises:
            StoreBusyError: another server has it, or nodes do.
            StorageUnavailableError: the database cannot be reached.
            SchemaError: it cannot keep what a ledger promises.
        """
        with self._writing(1, "alone") as engine:
            yield engine

    @contextmanager
    def as_node(self) -> Iterator[sa.Engine]:
        """The same beside other nodes, each of which shares the lock: nobody is alone as long as one of them is there.

        Raises:
            StoreBusyError: somebody has the ledger alone.
            StorageUnavailableError: the database cannot be reached.
            SchemaError: it cannot keep what a ledger promises.
        """
        with self._writing(1, "as a node") as engine:
            yield engine

    @contextmanager
    def shared(self) -> Iterator[sa.Engine]:
        """Writing connections beside those of others, a server's among them.

        Raises:
            StorageUnavailableError: the database cannot be reached.
            SchemaError: it cannot keep what a ledger promises.
        """
        with self._writing(4) as engine:
            yield engine

    @contextmanager
    def _writing(self, connections: int, holding: Holding | None = None) -> Iterator[sa.Engine]:
        # The server's own writer knows when its connection is lost, and begins anew.
        engine = self._engine(connections, is_asked_first=holding is None)

        @sa.event.listens_for(engine, "connect")
        def _prepare(connection: BoundedConnection, _record: object) -> None:
            require_durable(connection, self._durability)
            if holding is not None:
                _take_the_servers_lock(connection, self.place, holding)
            if holding == "as a node":
                _come(connection)
                end_if_still(connection)
            connection.execute(_DURABLE)
            connection.autocommit = False
            # Under any other level a transaction would read what stood before it waited for the lock.
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED

        try:
            with engine.connect():
                pass
            yield engine
        finally:
            engine.dispose()

    def reading(self, connections: int = 4, *, patience: float = PATIENCE) -> sa.Engine:
        """Connections that cannot write; each transaction sees one snapshot, and waits ``patience`` seconds at most."""
        engine = self._engine(connections, is_asked_first=True)

        @sa.event.listens_for(engine, "connect")
        def _prepare(connection: BoundedConnection, _record: object) -> None:
            connection.patience = patience
            connection.execute("SELECT set_config('statement_timeout', %s, false)", (f"{patience:.0f}s",))
            connection.autocommit = False
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True

        return engine

    def beside(self, name: str) -> sa.Engine:  # noqa: ARG002 - its tables lie in the same database
        """A connection that may write."""
        engine = self._engine(1, is_asked_first=True)

        @sa.event.listens_for(engine, "connect")
        def _prepare(connection: BoundedConnection, _record: object) -> None:
            connection.execute("SELECT set_config('statement_timeout', %s, false)", (f"{PATIENCE:.0f}s",))
            end_if_still(connection)
            connection.autocommit = False

        return engine

    def _engine(self, connections: int, *, is_asked_first: bool = False) -> sa.Engine:
        """A pool; ``is_asked_first``: a connection has to answer before it is used, or is made anew."""
        engine = sa.create_engine(
            "postgresql+psycopg://",
            creator=self._connect,
            poolclass=sa.pool.QueuePool,
            pool_size=connections,
            max_overflow=0,
            pool_pre_ping=is_asked_first,
            pool_reset_on_return=None,
            hide_parameters=True,
            use_native_hstore=False,
        )
        sa.event.listen(engine, "reset", _reset)
        return engine

    def _connect(self) -> BoundedConnection:
        connection = self._address.connect()
        try:
            connection.execute(_FIND_READ_MODELS)
        except BaseException:
            connection.close()  # no pool has it yet
            raise
        return connection

    @contextmanager
    def news(self, wake: Wake) -> Iterator[None]:
        """Call ``wake`` while inside, in a thread of its own, at each NOTIFY, and at each reconnection."""
        listener = PostgresListener(self._address.connect, "ledger_channel()", lambda _: wake())
        try:
            yield
        finally:
            listener.close()


def _reset(connection: BoundedConnection, record: sa.pool.ConnectionPoolEntry, state: sa.PoolResetState) -> None:
    """Roll back what a returned connection may have left open; one that was lost meanwhile is dropped, no error."""
    if state.transaction_was_reset or state.terminate_only:
        return
    try:
        connection.rollback()
    except psycopg.Error as error:
        record.invalidate(error)


def _take_the_servers_lock(connection: BoundedConnection, place: str, holding: Holding) -> None:
    """Hold the lock for as long as the connection lives.

    Raises:
        StoreBusyError: others hold it in a way that does not go with this one.
    """
    try:
        connection.execute(_TAKE_THE_SERVERS_LOCK[holding])
    except psycopg.errors.LockNotAvailable:
        row = connection.execute(_IS_HELD_BY_A_SERVER).fetchone()
        connection.close()
        if holding == "as a node":
            reason = f"{place} is in use by a server or a command that has it alone"
        elif row is not None and row[0]:
            reason = f"{place} is in use by another server"
        else:
            reason = f"{place} is in use by running nodes, and this needs it alone: stop them first"
        raise StoreBusyError(reason) from None


def _come(connection: BoundedConnection) -> None:
    """Be seen by the nodes of other releases for as long as the connection lives, before anything is appended by it."""
    connection.execute(_COME)
    in_use = connection.execute(cast("LiteralString", _VERSIONS_IN_USE)).fetchall()
    if any(version != READ_MODELS_VERSION for (version,) in in_use):
        time.sleep(SECONDS_TO_BE_NOTICED)


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
        ((schema,),) = self.execute(f"SELECT {_read_schema(version)}")
        return str(schema)

    def versions_in_use(self) -> Collection[int]:
        """As the locks of writing connections tell."""
        return [version for (version,) in self.execute(_VERSIONS_IN_USE)]

    def holds_alone(self, version: int) -> bool:
        """By the lock that they would share."""
        ((is_taken,),) = self.execute(f"SELECT pg_try_advisory_xact_lock({_NODES}, ?::int)", (version,))
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
            cursor.execute(cast("LiteralString", f"SELECT {names} FROM {table} LIMIT 0"))  # noqa: S608 - names of our own
            types = [column.type_code for column in cursor.description or ()]
            with cursor.copy(copying) as copy:
                copy.set_types(types)
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
