"""The search index: postings in a file of its own on SQLite, arrays of terms with an inverted index on PostgreSQL."""

import array
import asyncio
import sqlite3
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.errors import storage_errors
from chatledger.adapters.persistence.leases import require_lease
from chatledger.adapters.persistence.statements import statements_of
from chatledger.application.ports.leases import Fence, no_fence
from chatledger.application.ports.search_index import FoundMessage, IndexedMessage
from chatledger.application.ports.storage import StorageUnavailableError

T = TypeVar("T")

SAMPLE = 1_000
"""The newest messages with a term: by how far back they reach terms are compared that more messages have."""
LARGEST_NUMBER = 2**63 - 1


class SqlSearchIndex:
    """A search index on SQL. One thread reads and writes: a search waits for one commit of the index at most.

    Args:
        engine: connections to where it is; given back at the end.
        fence: tells the lease under which it is written to. On PostgreSQL it lies beside the leases.
    """

    def __init__(self, engine: sa.Engine, fence: Fence = no_fence) -> None:
        self._engine = engine
        self._fence = fence
        self._on: _Dialect = _Postgres() if engine.dialect.name == "postgresql" else _Sqlite()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search-index")
        self._is_purged = False

    async def prepare(self) -> None:
        """Make it where there is none: from then on it can be asked, whoever keeps it up."""

        def prepare(connection: sa.Connection) -> None:
            statements_of(connection).lock_schema()
            for statement in self._on.schema:
                connection.exec_driver_sql(statement)

        await self._run(prepare)

    async def begin(self, ledger: UUID, version: int) -> int:
        """Up to which position of this ledger it is made by this version; of any other it is emptied, and this is 0.

        What was removed, but had not left the disk, leaves it.
        """
        await self.prepare()

        def begin(connection: sa.Connection) -> int:
            row = connection.execute(sa.text("SELECT * FROM search_standing")).first()
            if row is not None and (row.ledger, row.version) == (ledger.hex, version):
                self._is_purged = bool(row.is_purged)
                return int(row.position)
            for table in (*self._on.tables, "search_standing"):
                connection.execute(sa.text(f"DELETE FROM {table}"))
            self._is_purged = False
            standing = "INSERT INTO search_standing VALUES (:ledger, :version, 0, 0)"
            connection.execute(sa.text(standing), {"ledger": ledger.hex, "version": version})
            return 0

        position = await self._write(begin)
        await self.purge()
        return position

    async def put(self, messages: Sequence[IndexedMessage], erased: Collection[UUID], position: int) -> None:
        """Add messages, remove those of erased conversations, and stand at a position; all in one."""

        def put(connection: sa.Connection) -> None:
            for message in messages:
                self._on.add(connection, message)
            removed = [self._on.remove(connection, conversation_id) for conversation_id in erased]
            self._is_purged = self._is_purged and not any(removed)
            standing = "UPDATE search_standing SET position = :position, is_purged = :is_purged"
            connection.execute(sa.text(standing), {"position": position, "is_purged": int(self._is_purged)})

        await self._write(put)

    async def purge(self) -> None:
        """Have what was removed leave the disk; nothing where it has."""

        def purged(connection: sa.Connection) -> None:
            connection.execute(sa.text("UPDATE search_standing SET is_purged = 1"))

        if not self._is_purged:
            await self._in_thread(lambda: self._execute(self._on.purge))
            await self._write(purged)
            self._is_purged = True

    async def find(self, terms: Collection[int], before: int | None, limit: int) -> list[FoundMessage]:
        """The newest messages with all of these terms, newest first; with ``before`` those of lower numbers."""
        last = LARGEST_NUMBER if before is None else before
        return await self._run(lambda connection: self._on.find(connection, list(terms), last, limit))

    async def discard(self) -> None:
        """Leave nothing of an index."""

        def discard(connection: sa.Connection) -> None:
            for table in (*self._on.tables, "search_standing"):
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")

        await self._run(discard)
        await self._in_thread(lambda: self._execute(self._on.shrink))

    async def close(self) -> None:
        """Release it, once what is under way is done."""
        await asyncio.to_thread(self._thread.shutdown)
        self._engine.dispose()

    async def _write(self, work: Callable[[sa.Connection], T]) -> T:
        """What only one node does: refused where it is another one's by now."""
        lease = self._fence()

        def write(connection: sa.Connection) -> T:
            require_lease(connection, lease)
            return work(connection)

        return await self._run(write)

    async def _run(self, work: Callable[[sa.Connection], T]) -> T:
        def run() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        return await self._in_thread(run)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        def run() -> T:
            with storage_errors():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def _execute(self, statements: Sequence[str]) -> None:
        """Outside of any transaction."""
        connection = self._engine.raw_connection()
        try:
            self._on.run(connection.driver_connection, statements)
        finally:
            connection.close()


class _Dialect(Protocol):
    """What the two databases do in ways of their own.

    Attributes:
        schema: makes the tables where they are not there yet.
        tables: those of what was indexed.
        purge: has what was deleted leave the disk.
        shrink: has tables that were dropped leave it.
    """

    schema: Sequence[str]
    tables: Sequence[str]
    purge: Sequence[str]
    shrink: Sequence[str]

    def run(self, driver: Any, statements: Sequence[str]) -> None: ...

    def add(self, connection: sa.Connection, message: IndexedMessage) -> None: ...

    def remove(self, connection: sa.Connection, conversation_id: UUID) -> bool:
        """Whether there was anything to remove."""
        ...

    def find(self, connection: sa.Connection, terms: Sequence[int], last: int, limit: int) -> list[FoundMessage]: ...


_STANDING = """
CREATE TABLE IF NOT EXISTS search_standing (
    ledger TEXT NOT NULL, version BIGINT NOT NULL, position BIGINT NOT NULL, is_purged SMALLINT NOT NULL
)
"""
_BY_CONVERSATION = """
CREATE INDEX IF NOT EXISTS search_messages_by_conversation ON search_messages (conversation_id)
"""


class _Sqlite:
    """Rows that SQLite moved from page to page stay behind where they were: only a file made anew is rid of them."""

    schema: Sequence[str] = (
        _STANDING,
        """
CREATE TABLE IF NOT EXISTS search_messages (
    number INTEGER PRIMARY KEY, message_id BLOB NOT NULL, conversation_id BLOB NOT NULL, terms BLOB NOT NULL
)
""",
        _BY_CONVERSATION,
        """
CREATE TABLE IF NOT EXISTS search_postings (
    term INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (term, number)
) WITHOUT ROWID
""",
    )
    tables: Sequence[str] = ("search_messages", "search_postings")
    purge: Sequence[str] = (
        "PRAGMA busy_timeout=500",
        "PRAGMA temp_store=FILE",
        "VACUUM",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    )
    shrink: Sequence[str] = purge

    def run(self, driver: sqlite3.Connection, statements: Sequence[str]) -> None:
        *_, checkpoint = [driver.execute(statement).fetchall() for statement in statements]
        (is_held, *_), *_ = checkpoint
        if is_held:
            raise StorageUnavailableError("search index: its log is being read, and cannot be emptied")

    def add(self, connection: sa.Connection, message: IndexedMessage) -> None:
        terms = sorted(message.terms)
        row = (
            message.number,
            message.message_id.bytes,
            message.conversation_id.bytes,
            array.array("q", terms).tobytes(),
        )
        connection.exec_driver_sql("INSERT OR REPLACE INTO search_messages VALUES (?, ?, ?, ?)", row)
        postings = [(term, message.number) for term in terms]
        connection.exec_driver_sql("INSERT OR IGNORE INTO search_postings VALUES (?, ?)", postings)

    def remove(self, connection: sa.Connection, conversation_id: UUID) -> bool:
        of_it = "FROM search_messages WHERE conversation_id = ?"
        rows = connection.exec_driver_sql(f"SELECT number, terms {of_it}", (conversation_id.bytes,)).all()
        postings = [(term, number) for number, terms in rows for term in array.array("q", terms)]
        if postings:
            connection.exec_driver_sql("DELETE FROM search_postings WHERE term = ? AND number = ?", postings)
        connection.exec_driver_sql(f"DELETE {of_it}", (conversation_id.bytes,))
        return bool(rows)

    def find(self, connection: sa.Connection, terms: Sequence[int], last: int, limit: int) -> list[FoundMessage]:
        """Along the term that is rarest from there on, newest first, with a look whether the others are there."""
        rarest, *others = sorted(terms, key=lambda term: self._commonness(connection, term, last))
        has = "".join(
            " AND EXISTS (SELECT 1 FROM search_postings o WHERE o.term = ? AND o.number = p.number)" for _ in others
        )
        query = (
            "SELECT p.number, m.message_id FROM search_postings p JOIN search_messages m ON m.number = p.number "
            f"WHERE p.term = ? AND p.number < ?{has} ORDER BY p.number DESC LIMIT ?"
        )
        rows = connection.exec_driver_sql(query, (rarest, last, *others, limit))
        return [FoundMessage(number, UUID(bytes=message_id)) for number, message_id in rows]

    def _commonness(self, connection: sa.Connection, term: int, last: int) -> tuple[int, int]:
        newest = "SELECT number FROM search_postings WHERE term = ? AND number < ? ORDER BY number DESC LIMIT ?"
        row = connection.exec_driver_sql(f"SELECT count(*), min(number) FROM ({newest})", (term, last, SAMPLE)).one()
        return row[0], row[1] or 0


class _Postgres:
    schema: Sequence[str] = (
        _STANDING,
        """
CREATE TABLE IF NOT EXISTS search_messages (
    number bigint PRIMARY KEY, message_id uuid NOT NULL, conversation_id uuid NOT NULL, terms bigint[] NOT NULL
)
""",
        _BY_CONVERSATION,
        "CREATE INDEX IF NOT EXISTS search_messages_by_terms ON search_messages USING gin (terms)",
    )
    tables: Sequence[str] = ("search_messages",)
    purge: Sequence[str] = ("VACUUM search_messages",)
    shrink: Sequence[str] = ()

    def run(self, driver: Any, statements: Sequence[str]) -> None:
        driver.autocommit = True
        try:
            for statement in statements:
                driver.execute(statement)
        finally:
            driver.autocommit = False

    def add(self, connection: sa.Connection, message: IndexedMessage) -> None:
        row: tuple[Any, ...] = (message.number, message.message_id, message.conversation_id, sorted(message.terms))
        connection.exec_driver_sql(
            "INSERT INTO search_messages (number, message_id, conversation_id, terms) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (number) DO NOTHING",
            row,
        )

    def remove(self, connection: sa.Connection, conversation_id: UUID) -> bool:
        delete = "DELETE FROM search_messages WHERE conversation_id = %s"
        return connection.exec_driver_sql(delete, (conversation_id,)).rowcount > 0

    def find(self, connection: sa.Connection, terms: Sequence[int], last: int, limit: int) -> list[FoundMessage]:
        query = (
            "SELECT number, message_id FROM search_messages WHERE terms @> %s::bigint[] AND number < %s "
            "ORDER BY number DESC LIMIT %s"
        )
        rows = connection.exec_driver_sql(query, (list(terms), last, limit))
        return [FoundMessage(number, message_id) for number, message_id in rows]
