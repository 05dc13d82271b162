"""The ledger as it is exported."""

from array import array
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.errors import storage_errors
from chatledger.adapters.persistence.tables import (
    CHECKPOINTS,
    CONVERSATIONS,
    END_USERS,
    ERASURES,
    EVENTS,
    FILE_REFERENCES,
    FILES,
    HEAD,
    MESSAGES,
    STREAMS,
    CompactUuid,
)
from chatledger.adapters.persistence.transaction import EventTypes, SqlTransaction
from chatledger.application.audit.export_lines import ExportScope
from chatledger.application.ports.storage import EventRow, Head

T = TypeVar("T")

POSITIONS_PER_FETCH = 10_000


class SqlExportedLedger:
    """Reads rows, each time in a transaction of its own: whoever takes the lines may be slow. Blocks.

    Args:
        reading: connections that cannot write.
    """

    def __init__(self, reading: sa.Engine) -> None:
        self._reading = reading
        self._types = EventTypes()

    def incarnation(self) -> UUID:
        """What tells this ledger from its copies."""
        found: UUID = self._read(lambda c: c.execute(sa.select(HEAD.c.incarnation)).scalar_one())
        return found

    def head(self) -> Head:
        """Where it ends."""
        return self._transact(lambda transaction: transaction.head())

    def log(self, after: int, limit: int) -> Sequence[EventRow]:
        """Rows in order of position."""
        return self._transact(lambda transaction: transaction.read_log(after, limit))

    def positions(self, scope: ExportScope, through: int) -> Sequence[int]:
        """Where the rows of a part of the ledger stand, up to a position, in order."""
        of_scope = sa.select(STREAMS.c.number).where(STREAMS.c.stream_id.in_(_streams_of(scope)))
        place = EVENTS.c.position
        query = sa.select(place).where(EVENTS.c.stream.in_(of_scope), place <= through).order_by(place)

        def read(connection: sa.Connection) -> Sequence[int]:
            found = array("q")
            result = connection.execution_options(stream_results=True).execute(query).scalars()
            for page in result.partitions(POSITIONS_PER_FETCH):
                found.extend(page)
            return found

        return self._read(read)

    def rows_at(self, positions: Sequence[int]) -> Sequence[EventRow]:
        """The rows at these positions, in order of position."""
        return self._transact(lambda transaction: transaction.read_at(positions))

    def checkpoint(self, through: int) -> str | None:
        """The newest signed note about this ledger that covers no later event; None where there is none."""
        table = CHECKPOINTS.c
        of_this_ledger = table.origin.endswith(f"/{self.incarnation()}", autoescape=True)
        query = (
            sa.select(table.note)
            .where(of_this_ledger, table.size <= through)
            .order_by(table.size.desc(), table.number.desc())
            .limit(1)
        )
        found: str | None = self._read(lambda c: c.execute(query).scalar())
        return found

    def conversation_owners(self, conversation_id: UUID) -> tuple[UUID, UUID] | None:
        """The app and the person of a conversation, of a deleted one too; None where there is none."""
        queries = [
            sa.select(table.c.app_id, table.c.end_user_id).where(table.c.conversation_id == conversation_id).limit(1)
            for table in (CONVERSATIONS, MESSAGES)
        ]
        for query in queries:
            row = self._read(lambda c, query=query: c.execute(query).first())
            if row is not None:
                return row.app_id, row.end_user_id
        return None

    def _transact(self, read: Callable[[SqlTransaction], T]) -> T:
        return self._read(lambda connection: read(SqlTransaction(connection, self._types)))

    def _read(self, read: Callable[[sa.Connection], T]) -> T:
        with storage_errors(), self._reading.begin() as connection:
            return read(connection)


def _streams_of(scope: ExportScope) -> sa.CompoundSelect[Any]:
    """The ids of the streams of a conversation, of a person, or of an app: those of deleted conversations too."""
    if scope.conversation_id is not None:
        of_conversation = scope.conversation_id
        return sa.union(
            _this(of_conversation),
            sa.select(MESSAGES.c.message_id).where(MESSAGES.c.conversation_id == of_conversation),
            sa.select(FILE_REFERENCES.c.file_id).where(FILE_REFERENCES.c.conversation_id == of_conversation),
        )
    if scope.end_user_id is not None:
        return sa.union(_this(scope.end_user_id), *_theirs("end_user_id", scope.end_user_id))
    people = [sa.select(table.c.end_user_id).where(table.c.app_id == scope.app_id) for table in (END_USERS, ERASURES)]
    return sa.union(_this(scope.app_id), *people, *_theirs("app_id", scope.app_id))


def _this(stream_id: UUID | None) -> sa.Select[Any]:
    return sa.select(sa.literal(stream_id, CompactUuid()))


def _theirs(column: str, owner_id: UUID | None) -> list[sa.Select[Any]]:
    return [
        sa.select(table.c[stream_id]).where(table.c[column] == owner_id)
        for table, stream_id in (
            (CONVERSATIONS, "conversation_id"),
            (MESSAGES, "conversation_id"),
            (MESSAGES, "message_id"),
            (FILES, "file_id"),
        )
    ]
