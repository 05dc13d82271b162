"""What a transaction asks of a connection, and where the databases differ."""

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import sqlalchemy as sa

from chatledger.application.ledger.projections import READ_MODELS_VERSION

Row = tuple[Any, ...]

ROWS_PER_STATEMENT = 64

EVENT_COLUMNS = (
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
STREAM_COLUMNS = ("number", "stream_id", "category", "key_id")


class HeadRow(NamedTuple):
    """The head of the ledger as it is stored, and how this release's read models stand.

    Attributes:
        read_models: the version of those that are at the head, whoever wrote last.
        moved_to: the position to which this release's were moved when another one took over; None where there are none.
        has_successors: whether this release's are made anew, and have come so far that both are moved.
    """

    position: int
    recorded_at: int
    last_stream: int
    read_models: int
    import_through: int | None = None
    moved_to: int | None = None
    has_successors: bool | None = None


SELECT_HEAD = f"""
SELECT h.position, h.recorded_at, h.last_stream, h.read_models, h.import_through, v.position, v.has_successors
FROM head h LEFT JOIN read_model_versions v ON v.version = {READ_MODELS_VERSION}
"""  # noqa: S608 - a number of our own


class Statements(Protocol):
    """The SQL of one connection. It goes to the driver: the statements are few, hot, and the same each time.

    Parameters are marked by ``?``, and have passed through :meth:`value`.
    """

    @property
    def no_limit(self) -> int | None:
        """What LIMIT takes for all rows."""
        ...

    @property
    def is_lost(self) -> bool:
        """Whether the database went away under the connection."""
        ...

    def value(self, value: Any) -> Any:
        """A parameter as the driver takes it quickest."""
        ...

    def id_as_bytes(self, column: str) -> str:
        """What selects an id as bytes."""
        ...

    def shared_id(self, raw: Any) -> UUID:
        """An id that many rows have, from what the driver gives."""
        ...

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Sequence[Row]:
        """Run a statement; its rows."""
        ...

    def pages(self, sql: str, size: int) -> Generator[Sequence[Row], None, None]:
        """The rows of a statement, so many at a time; others may run in between."""
        ...

    def pages_ahead(self, sql: str, size: int) -> Generator[Sequence[Row], None, None]:
        """The same, in the same snapshot; the database makes the next rows while these are looked at, if it can.

        What nobody has asked for yet is a part of a page, and what the network holds.
        """
        ...

    def batch(self) -> AbstractContextManager[object]:
        """Statements run inside may wait for each other's results no earlier than at its end."""
        ...

    def lock_schema(self) -> None:
        """Wait for whoever changes the schema, and hold others off to the end of the transaction."""
        ...

    def lock(self) -> HeadRow:
        """Wait for the ledger's lock, which the transaction holds to its end; the head as it stands under the lock."""
        ...

    def touch(self) -> None:
        """Write what was there already."""
        ...

    def require_room(self, room: int) -> None:
        """Let a database pass whose disk has room for so many bytes.

        Raises:
            StorageUnavailableError: it has not.
            Exception: the driver's word for it.
        """
        ...

    def append(self, streams: Sequence[Row], events: Sequence[Row], head: HeadRow) -> None:
        """Insert new streams and events and move the head."""
        ...

    def select_streams(self, wanted: Sequence[tuple[UUID, int]], most: int) -> Sequence[Row]:
        """Of each stream the events after a version, so many versions on at most.

        A row is the place among those that are wanted, the stream's category and key, and the event's columns.
        """
        ...

    def scrub(self) -> bool:
        """Outside of a transaction: empty the log of what was overwritten; False where a reader is in the way."""
        ...

    # For read models, of several versions or made anew

    def read_schema(self, version: int = READ_MODELS_VERSION) -> str | None:
        """Where the read models of a version are; None where they lie with the ledger."""
        ...

    def versions_in_use(self) -> Collection[int]:
        """The versions that nodes have which may append, this one's included."""
        ...

    def holds_alone(self, version: int) -> bool:
        """Keep nodes from coming with a version, to the end of the transaction; False where one is there."""
        ...

    def try_to_rebuild(self) -> int | None:
        """Take it on, to the end of the connection, to be the one who makes read models anew; who that is then.

        None where another one is.
        """
        ...

    def is_rebuilt_by(self, rebuilder: int) -> bool:
        """Whether that one still does."""
        ...

    def end_rebuild(self) -> None:
        """Let another one take it on."""
        ...

    def is_rebuilding(self) -> bool:
        """Whether somebody does so; nobody begins to, before the transaction ends."""
        ...

    def transaction_name(self) -> str:
        """What tells snapshots that see this transaction from those that came before."""
        ...

    def is_seen_by_all(self, transaction_name: str) -> bool:
        """Whether no snapshot is left that came before a transaction and could meet with new tables."""
        ...

    def hold(self, tables: Sequence[str]) -> None:
        """Keep readers from tables to the end of the transaction, where they could meet with the change of a name.

        Raises:
            ReadersInTheWayError: they do not let go in a moment.
        """
        ...

    def fill(self, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
        """Insert many rows, outside of a batch."""
        ...

    def analyze(self, table: str) -> None:
        """Have queries on a new table planned by what is in it."""
        ...

    def remove_rows(self, table: str, most: int) -> bool:
        """Remove some rows of a table that is to be dropped; False where it can be dropped at once."""
        ...


def statements_of(connection: sa.Connection) -> Statements:
    """The statements of a connection, whichever database it is to."""
    if connection.dialect.name == "sqlite":
        from chatledger.adapters.persistence.sqlite import SqliteStatements  # noqa: PLC0415

        return SqliteStatements(connection)
    from chatledger.adapters.persistence.postgres_statements import PostgresStatements  # noqa: PLC0415 - psycopg is an extra

    return PostgresStatements(connection)


def raw_columns(statements: Statements) -> str:
    """What selects the columns of :data:`chatledger.application.ports.storage.RawRow`."""
    return ", ".join(statements.id_as_bytes(name) if name == "event_id" else name for name in EVENT_COLUMNS)


def insert_rows(table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> Iterator[tuple[str, list[Any]]]:
    """INSERTs of many rows each, with their parameters."""
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        page = rows[start : start + ROWS_PER_STATEMENT]
        yield _insert(table, columns, len(page)), [value for row in page for value in row]


@cache
def _insert(table: str, columns: tuple[str, ...], count: int) -> str:
    marks = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([marks] * count)}"  # noqa: S608 - names of our own
