"""PostgreSQL: one ledger in the schema that a connection begins with, and any number of processes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, LiteralString, cast

import psycopg
import sqlalchemy as sa

from chatledger.adapters.persistence.database import Durability, Wake
from chatledger.adapters.persistence.postgres_statements import NODES, VERSIONS_IN_USE, read_schema
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
from chatledger.application.ports.storage import StoreBusyError

SECONDS_TO_BE_ALONE = 3
"""A server that was killed lets go of its lock once the database has noticed."""
SECONDS_TO_BE_A_NODE = 5
"""Who waits to be alone stands before a node that comes later, and gives up sooner."""

_DURABLE: LiteralString = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
)

# Behind the ledger's own schema, so that this one stays the current one; before any that a host has in its path.
_FIND_READ_MODELS = cast(
    "LiteralString",
    "SELECT set_config('search_path', concat_ws(', ', quote_ident(current_schema()), "
    f"quote_ident({read_schema(READ_MODELS_VERSION)}), nullif(current_setting('search_path'), '')), false)",
)

SECONDS_TO_BE_NOTICED = 2.0
"""What nodes of another release may take to notice a new one, by their looks or by its writing connection."""

_COME = cast("LiteralString", f"SELECT pg_advisory_lock_shared({NODES}, {READ_MODELS_VERSION})")
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
    in_use = connection.execute(cast("LiteralString", VERSIONS_IN_USE)).fetchall()
    if any(version != READ_MODELS_VERSION for (version,) in in_use):
        time.sleep(SECONDS_TO_BE_NOTICED)
