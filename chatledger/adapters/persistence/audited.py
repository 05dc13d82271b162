"""A ledger in a database, read as its auditor does: column by column, in one snapshot."""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from chatledger.adapters.persistence.statements import raw_columns, statements_of
from chatledger.adapters.persistence.transaction import IDS_PER_STATEMENT
from chatledger.application.ports.audit import ClaimedCheckpoint, RawHead, RawStream
from chatledger.application.ports.storage import RawRow

ROWS_PER_PAGE = 1_000

_STREAMS = "SELECT number, {stream_id}, category, {key_id} FROM streams WHERE number IN ({marks})"


class SqlAuditedLedger:
    """One ledger, in the snapshot of a read transaction that the connection is in.

    Args:
        connection: to be used for nothing else meanwhile.
        place: where the ledger is, without any secret.
    """

    def __init__(self, connection: sa.Connection, place: str) -> None:
        self.place = place
        self._statements = statements_of(connection)
        self._opened = ExitStack()

    def expected(self) -> int:
        """What the head says, if it says a number."""
        return next((head.position for head in self.heads() if isinstance(head.position, int)), 0)

    def heads(self) -> Sequence[RawHead]:
        """Its head: one, unless somebody was at it."""
        incarnation = self._statements.id_as_bytes("incarnation")
        sql = f"SELECT position, recorded_at, last_stream, {incarnation} FROM head"  # noqa: S608 - names of our own
        return [RawHead(*row) for row in self._statements.execute(sql)]

    def event_types(self) -> Mapping[int, tuple[str, int]]:
        """Names and schemas of events, by their numbers."""
        rows = self._statements.execute("SELECT number, name, schema FROM event_types")
        return {number: (name, schema) for number, name, schema in rows}

    def count_streams(self) -> int:
        """How many streams there are."""
        return self._stream_count

    @cached_property
    def _stream_count(self) -> int:
        return int(self._statements.execute("SELECT count(*) FROM streams")[0][0])

    def last_stream(self) -> int:
        """The highest number that a stream has."""
        return int(self._statements.execute("SELECT max(number) FROM streams")[0][0] or 0)

    def streams(self, numbers: Collection[int]) -> Mapping[int, RawStream]:
        """Those that there are of these numbers."""
        wanted, found, id_as_bytes = list(numbers), dict[int, RawStream](), self._statements.id_as_bytes
        for start in range(0, len(wanted), IDS_PER_STATEMENT):
            page = wanted[start : start + IDS_PER_STATEMENT]
            sql = _STREAMS.format(
                stream_id=id_as_bytes("stream_id"), key_id=id_as_bytes("key_id"), marks=", ".join("?" * len(page))
            )
            for number, stream_id, category, key_id in self._statements.execute(sql, page):
                found[number] = RawStream(stream_id, category, key_id)
        return found

    def pages(self) -> Iterator[Sequence[RawRow]]:
        """All events, by their positions."""
        sql = f"SELECT {raw_columns(self._statements)} FROM events ORDER BY position"  # noqa: S608 - names of our own
        return self._closed_at_the_end(self._statements.pages_ahead(sql, ROWS_PER_PAGE))

    def _closed_at_the_end(self, pages: Generator[Sequence[Any], None, None]) -> Iterator[Sequence[Any]]:
        self._opened.callback(pages.close)
        return pages

    def close(self) -> None:
        """Let go of what is being read, if it was broken off."""
        self._opened.close()

    def checkpoints(self) -> Iterator[ClaimedCheckpoint]:
        """Those that it keeps of itself, by their sizes."""
        sql = "SELECT number, origin, size, note FROM checkpoints ORDER BY size, number"
        for page in self._closed_at_the_end(self._statements.pages(sql, ROWS_PER_PAGE)):
            for number, origin, size, note in page:
                yield ClaimedCheckpoint(number, origin, size, note.encode() if isinstance(note, str) else note)

    def tiles(self, level: int, first: int, count: int) -> Mapping[int, bytes]:
        """The roots of these tiles by their numbers, as far as they are kept."""
        sql = "SELECT number, root FROM tiles WHERE level = ? AND number >= ? AND number < ?"
        return {row[0]: row[1] for row in self._statements.execute(sql, (level, first, first + count))}

    def count_tiles(self) -> int:
        """How many tiles are kept."""
        return int(self._statements.execute("SELECT count(*) FROM tiles")[0][0])
