"""Connections to PostgreSQL: bounded in time, and one that hears of what others NOTIFY."""

import logging
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from socket import socketpair
from typing import Any, Literal, LiteralString, TypeVar, cast

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.generators import send

from chatledger.application.ports.storage import SchemaError, StorageUnavailableError

T = TypeVar("T")

log = logging.getLogger(__name__)

OLDEST_SERVER = 14

PATIENCE = 30.0

SECONDS_TO_STAND_STILL = 5.0
"""A node that is frozen in the middle of a transaction holds others up for so long: they wait longer for the lock."""

SECONDS_BETWEEN_LISTENERS = 0.5
SECONDS_BETWEEN_PINGS = 30.0

_CONNECTION = {
    "application_name": "chatledger",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

SESSION = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "15s",
    # So that the database, too, notices soon that a client's machine is gone, and frees its locks.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15s",
    "idle_session_timeout": "0",
    "client_encoding": "UTF8",
}


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits for no answer longer than ``patience`` seconds; then it is given up."""

    patience = PATIENCE

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """The result of an exchange with the server.

        Raises:
            psycopg.OperationalError: it did not come in time; the connection is closed.
        """
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if type(error).__name__ != "_WaitTimeout":
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer from the database within {self.patience:g} s") from None

    @contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        """One round trip for all statements inside. The server times a transaction that is idle after them."""
        if self._pipeline is None and not self.closed:
            self._pipeline = _TimedPipeline(self)
        with super().pipeline() as pipeline:
            yield pipeline


class _TimedPipeline(psycopg.Pipeline):
    def _exit_gen(self) -> PQGen[None]:
        # The library asks for a flush behind the end of the pipeline, which makes the server send what it sends anyway.
        # To the server that is the beginning of the next statement: it ends no session as idle any more.
        try:
            self._enqueue_sync()
            yield from self._communicate_gen()
        finally:
            yield from send(self.pgconn)
            yield from self._fetch_gen(flush=False)


class PostgresAddress:
    """Where a database is.

    Attributes:
        place: the server and the database, without user and password.
    """

    def __init__(self, url: str) -> None:
        """Take it as the client's library reads it: a password may hold what ends it for other readers of URLs.

        Raises:
            ValueError: it is no address; the text quotes nothing of it.
        """
        self.place = _place(url)
        self._conninfo = make_conninfo("", **_CONNECTION | conninfo_to_dict(url))

    def connect(self) -> BoundedConnection:
        """A new connection, in autocommit. Blocks.

        Raises:
            StorageUnavailableError: there is none to be had.
        """
        try:
            connection = BoundedConnection.connect(self._conninfo, autocommit=True)
        except psycopg.OperationalError as error:
            raise StorageUnavailableError(f"{self.place}: {_first_line(error)}") from error
        settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in SESSION.items())
        try:
            connection.execute(cast("LiteralString", f"SELECT {settings}"))
        except BaseException:
            connection.close()  # no pool has it yet
            raise
        return connection


def _place(url: str) -> str:
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ValueError("this is no address of a PostgreSQL database") from None
    if "@" in f"{parts.get('host')}{parts.get('dbname')}":
        raise ValueError("in a user's name and password @ is written %40, and / is written %2F")
    hosts, ports = (str(parts.get(name) or "").split(",") for name in ("host", "port"))
    servers = (":".join(filter(None, server)) for server in zip_longest(hosts, ports))
    return f"postgresql://{','.join(servers)}/{parts.get('dbname') or ''}"


def require_durable(connection: BoundedConnection, durability: Literal["full", "relaxed"]) -> None:
    """Refuse a server that would lose what was acknowledged; ``relaxed`` lets one pass that does not sync.

    Raises:
        SchemaError: it would; the text says why.
    """
    row = connection.execute(
        "SELECT current_setting('server_version_num')::int / 10000, current_setting('fsync') = 'on', "
        "current_setting('full_page_writes') = 'on', pg_is_in_recovery(), current_setting('server_encoding')"
    ).fetchone()
    version, fsync, full_page_writes, is_standby, encoding = row or (0, False, False, False, "")
    if version < OLDEST_SERVER:
        raise SchemaError(f"the server is PostgreSQL {version}, chatledger needs {OLDEST_SERVER} or newer")
    if is_standby:
        raise SchemaError("the server is a standby: chatledger writes to the primary")
    if encoding != "UTF8":
        raise SchemaError(f"the database has the encoding {encoding}, chatledger needs UTF8")
    if durability == "full" and not (fsync and full_page_writes):
        raise SchemaError(
            "the server runs without fsync or full_page_writes: a power cut would cost what was acknowledged; "
            "set them to on, or set durability to relaxed"
        )


def end_if_still(connection: BoundedConnection) -> None:
    """Have the server end the session once its client has stood still in a transaction for some seconds."""
    bound = f"{SECONDS_TO_STAND_STILL * 1000:.0f}ms"
    connection.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, false)", (bound,))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class PostgresListener:
    """A thread that hears what is told on a channel. It connects anew when the connection is lost."""

    def __init__(
        self, connect: Callable[[], BoundedConnection], channel: LiteralString, hear: Callable[[Sequence[str]], object]
    ) -> None:
        """Begin to listen.

        Args:
            connect: makes the connection that it takes.
            channel: an SQL expression, which gives the channel's name.
            hear: called in the thread with what was told; with nothing, where something may have been missed: at
                each beginning.
        """
        self._connect = connect
        self._channel = channel
        self._hear = hear
        self._ours, self._its = socketpair()
        self._is_closed = threading.Event()
        self._is_away = False
        self._thread = threading.Thread(target=self._run, name="postgres-listener", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_closed.is_set():
            try:
                with self._connect() as connection:
                    self._listen(connection)
            except (psycopg.Error, StorageUnavailableError, OSError):
                if not self._is_away:
                    log.info("nobody tells of what others do: the database is away; it is looked for instead")
                self._is_away = True
                self._is_closed.wait(SECONDS_BETWEEN_LISTENERS)

    def _listen(self, connection: BoundedConnection) -> None:
        connection.autocommit = True
        channel = connection.execute(cast("LiteralString", f"SELECT quote_ident({self._channel})")).fetchone()
        connection.execute(cast("LiteralString", f"LISTEN {channel[0] if channel else ''}"))
        self._is_away = False
        self._hear(())
        while not self._is_closed.is_set():
            self._wait(connection)

    def _wait(self, connection: BoundedConnection) -> None:
        poll = select.poll()
        for readable in (connection.fileno(), self._its.fileno()):
            poll.register(readable, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(1_000 * SECONDS_BETWEEN_PINGS)]
        if connection.fileno() in ready:
            connection.pgconn.consume_input()
            told = list(iter(connection.pgconn.notifies, None))
            if told:
                self._hear([notice.extra.decode() for notice in told])
        elif not ready:
            connection.execute("SELECT")  # whether it is there still

    def close(self) -> None:
        """Hear nothing any more. Blocks until the thread has ended."""
        self._is_closed.set()
        self._ours.send(b"\0")
        self._thread.join()
        self._ours.close()
        self._its.close()
