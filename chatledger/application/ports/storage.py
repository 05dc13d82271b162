"""The ledger's store: rows in, rows out, under one lock."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar
from uuid import UUID

import msgspec

T = TypeVar("T")

Algorithm = Literal["none", "aes-256-gcm"]
ALGORITHMS: tuple[Algorithm, ...] = ("none", "aes-256-gcm")
"""Stored as the index in this tuple."""

Category = Literal["message", "conversation", "app", "end_user", "file", "operator", "notary", "key_store", "webhook"]

LAST_POSITION = 2**63 - 1
"""No ledger comes so far."""

LIBRARY = "library:"
"""Begins the category of a stream of an application on the ``eventsourcing`` library, whose name follows."""


class StorageUnavailableError(Exception):
    """The store cannot be used right now (disk full, database away). Nothing was written."""


class CommitInDoubtError(StorageUnavailableError):
    """The store went away in the middle of a commit and stayed away: it may have taken place after all."""


class StoreBusyError(Exception):
    """Another server has this store open; the text names it."""


class SchemaError(Exception):
    """The store's schema is not the one that this release knows; the text says what to do."""


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """One event as it is stored. Never changed, deleted or renumbered.

    Attributes:
        position: place in the ledger, 1, 2, 3, ... without gaps.
        category: what the stream is of: a :data:`Category`, or an application on the library.
        recorded_at: microseconds since the epoch, never falling from one position to the next.
        public: the public fields, JSON.
        sealed: the sealed fields, encrypted under ``key_id`` by ``algorithm``.
        context_position: the position whose row holds the metadata of this one; its own, for the first of a hand-in.
        context: that metadata (JSON), in the row that holds it.
        leaf: the RFC 6962 leaf hash over all of the above.
    """

    position: int
    stream_id: UUID
    category: str
    version: int
    event_id: UUID
    name: str
    schema: int
    recorded_at: int
    public: bytes
    sealed: bytes | None
    key_id: UUID | None
    algorithm: Algorithm
    context_position: int
    context: bytes | None
    leaf: bytes = b""


RawRow: TypeAlias = tuple[int, int, int, bytes, int, int, bytes, bytes | None, int, int, bytes | None, bytes]
"""An event's columns in the order of its table.

Position, stream, version, event id, type, time, public part, sealed part, algorithm, context position, context, leaf.
Stream, type and algorithm are numbers. The event id is bytes where rows are read to stay raw; else it is what the
driver makes of it, and :meth:`RawRows.event` takes either.
"""


class RowsStream(NamedTuple):
    """What the events of a stream share."""

    stream_id: UUID
    category: str
    key_id: UUID | None


class RawRows(msgspec.Struct, frozen=True):
    """Events as they are stored: an :class:`EventRow` takes as long as to read one, and not each of them is wanted.

    Attributes:
        rows: the events.
        streams: theirs, by their numbers.
        types: names and schemas of events by their numbers, theirs among them.
    """

    rows: Sequence[RawRow]
    streams: Mapping[int, RowsStream]
    types: Mapping[int, tuple[str, int]]

    def event(self, row: RawRow) -> EventRow:
        """One of them."""
        position, stream, version, event_id, kind, at, public, sealed, algorithm, place, context, leaf = row
        stream_id, category, key_id = self.streams[stream]
        name, schema = self.types[kind]
        if isinstance(event_id, bytes):  # else the driver has made it
            event_id = UUID(bytes=event_id)
        return EventRow(
            position, stream_id, category, version, event_id, name, schema, at, public, sealed, key_id,
            ALGORITHMS[algorithm], place, context, leaf,
        )  # fmt: skip


class Head(msgspec.Struct, frozen=True):
    """Where the ledger ends. Kept in a row of its own, so that no position is ever given twice."""

    position: int
    recorded_at: int


class UniqueGuard(msgspec.Struct, frozen=True):
    """Holds only while no row has this key. ``index`` names the table and its key."""

    index: Literal["end_user", "api_key", "operator_token", "checkpoint"]
    key: tuple[Any, ...]


class RepeatGuard(msgspec.Struct, frozen=True):
    """Holds only while no equal request of this person is being answered that came within the last ``window``.

    Attributes:
        fingerprint: what equal requests have in common.
        window: microseconds.
    """

    end_user_id: UUID
    fingerprint: str
    window: int


class IdempotencyGuard(msgspec.Struct, frozen=True):
    """Holds only while no message of this person came with this key within the last ``window``.

    Attributes:
        key: a keyed hash of the key that the client chose.
        window: microseconds.
    """

    end_user_id: UUID
    key: str
    window: int


class IdleGuard(msgspec.Struct, frozen=True):
    """Holds only while no more than ``most`` messages of a conversation are unfinished."""

    conversation_id: UUID
    most: int = 0


class ReplayGuard(msgspec.Struct, frozen=True):
    """Holds only while no message that replays this one is unfinished or completed."""

    message_id: UUID


class CeilingGuard(msgspec.Struct, frozen=True):
    """Holds only while fewer messages of an app than ``ceiling`` are unfinished."""

    app_id: UUID
    ceiling: int


Guard = UniqueGuard | RepeatGuard | IdempotencyGuard | IdleGuard | ReplayGuard | CeilingGuard


class Insert(msgspec.Struct, frozen=True):
    """A new row of a read model."""

    table: str
    row: dict[str, Any]


class Update(msgspec.Struct, frozen=True):
    """New values in the row with this key; no row, no change."""

    table: str
    key: dict[str, Any]
    values: dict[str, Any]


class Upsert(msgspec.Struct, frozen=True):
    """A row of a read model; where one with this key exists, only ``values`` replace its own."""

    table: str
    key: dict[str, Any]
    row: dict[str, Any]
    values: dict[str, Any]


class Delete(msgspec.Struct, frozen=True):
    """The rows with this key are gone."""

    table: str
    key: dict[str, Any]


class Increase(msgspec.Struct, frozen=True):
    """So much more in the row with this key, which begins with it where there is none."""

    table: str
    key: dict[str, Any]
    amounts: dict[str, int]


Change = Insert | Update | Upsert | Delete | Increase


class StoredStream(msgspec.Struct, frozen=True):
    """What is on record of a stream."""

    version: int
    key_id: UUID | None


class Beginning(msgspec.Struct, frozen=True):
    """A stream's category, and the public part of its first event."""

    category: str
    public: bytes


class Transaction(Protocol):
    """One write transaction, under the ledger's lock. Blocks."""

    def head(self) -> Head:
        """Where the ledger ends.

        Raises:
            SchemaError: this release does not know its read models, or an import into it is not whole yet.
        """
        ...

    def import_through(self) -> int | None:
        """The last position of an import that is not whole yet; None where there is no such import."""
        ...

    def position(self) -> int:
        """The last position of the ledger, whatever version its read models have."""
        ...

    def moved_to(self) -> int | None:
        """Up to which position this release's read models are moved; None where there are none.

        It is the head, unless a release with read models of another version has appended since.
        """
        ...

    def hold_read_models(self) -> int:
        """Keep others from moving this release's read models to the end of the transaction; up to where they are moved.

        Raises:
            SchemaError: there are none, or an import is not whole yet.
        """
        ...

    def move_read_models(self, changes: Sequence[Change], position: int) -> None:
        """Move this release's read models, which are held, to a position."""
        ...

    def streams(self, stream_ids: Collection[UUID]) -> Mapping[UUID, StoredStream]:
        """Those of the streams that exist."""
        ...

    def holds(self, guard: UniqueGuard) -> bool:
        """Whether the guard's key is free."""
        ...

    def is_running(self, end_user_id: UUID, fingerprint: str, since: int) -> bool:
        """Whether an equal request of this person, of this time or later, is unfinished."""
        ...

    def is_known(self, end_user_id: UUID, idempotency_key: str, since: int) -> bool:
        """Whether a message of this person, of this time or later, came with this key."""
        ...

    def is_replayed(self, message_id: UUID) -> bool:
        """Whether a message that replays this one is unfinished or completed."""
        ...

    def unfinished(self, app_id: UUID) -> int:
        """How many messages of an app have no terminal event."""
        ...

    def unfinished_in(self, conversation_id: UUID) -> int:
        """How many messages of a conversation have no terminal event."""
        ...

    def has_unended(self, end_user_id: UUID) -> bool:
        """Whether a message of this person has no terminal event."""
        ...

    def is_conversation_at_rest(self, conversation_id: UUID, before: int) -> bool:
        """Whether nothing has happened in a conversation since a time, nothing goes on in it, and nobody holds it."""
        ...

    def is_file_at_rest(self, file_id: UUID, before: int) -> bool:
        """Whether a file is from before a time, no conversation shows it, and nobody holds it."""
        ...

    def require_lock(self) -> None:
        """Pass where the ledger's lock is still held: a database takes it from whoever has stood still.

        Raises:
            StorageUnavailableError: it is not; what was found under it may not hold any more.
        """
        ...

    def append(self, rows: Sequence[EventRow]) -> None:
        """Insert rows and move the head."""
        ...

    def apply(self, changes: Sequence[Change]) -> None:
        """Move read models and operational state, in order."""
        ...

    def read_stream(self, stream_id: UUID, after: int = 0) -> list[EventRow]:
        """All rows of a stream after a version, this transaction's included."""
        ...

    def read_log(self, after: int, limit: int) -> list[EventRow]:
        """Rows in order of position."""
        ...

    def read_raw_log(self, after: int, limit: int) -> RawRows:
        """The same as they are stored."""
        ...

    def clear(self, tables: Iterable[str]) -> None:
        """Empty tables, which are not large."""
        ...


class LedgerReading(Protocol):
    """The committed events of all streams."""

    async def stream(
        self,
        stream_id: UUID,
        decode: Callable[[Sequence[EventRow]], T],
        *,
        after: int = 0,
        limit: int | None = None,
        beyond: int = 0,
        up_to: int = LAST_POSITION,
    ) -> T:
        """Committed rows of one stream in order of version. ``decode`` runs off the event loop.

        Args:
            stream_id: which stream.
            decode: makes of the rows what is wanted.
            after: the version that they come after.
            limit: how many at most; None for all.
            beyond: the position that they come after.
            up_to: the last position that they may have.
        """
        ...

    async def streams(
        self, wanted: Sequence[tuple[UUID, int]], decode: Callable[[Sequence[EventRow]], T], *, most: int
    ) -> list[T]:
        """For each stream and version the committed rows after it, in one snapshot; ``decode`` runs off the event loop.

        Args:
            wanted: streams, each with the version that its rows come after. One may be wanted twice.
            decode: makes of the rows of one what is wanted.
            most: how many versions on at most.
        """
        ...

    async def stream_head(self, stream_id: UUID) -> StoredStream | None:
        """What is on record of a stream, without its events; None where there is no such stream."""
        ...

    async def log(self, decode: Callable[[Sequence[EventRow]], T], *, after: int, limit: int) -> T:
        """Committed rows in order of position. ``decode`` runs off the event loop."""
        ...

    async def changes(
        self, decode: Callable[[Sequence[EventRow]], T], *, after: int, most: int
    ) -> tuple[int, T | None]:
        """Where the ledger ends, and what has changed of apps, people and webhooks, or was erased, after a position.

        None where the ledger has grown by more than ``most`` events. ``decode`` runs off the event loop.
        """
        ...

    async def context_at(self, positions: Iterable[int]) -> Mapping[int, bytes]:
        """The metadata that these rows hold."""
        ...

    async def beginnings(self, stream_ids: Collection[UUID]) -> Mapping[UUID, Beginning]:
        """What these streams began with, those of them that exist."""
        ...

    async def head(self) -> Head:
        """Where the ledger ends."""
        ...

    async def position_at(self, moment: int) -> int:
        """The last position that was recorded at a time in microseconds or before; 0 where the ledger began later."""
        ...

    async def incarnation(self) -> UUID:
        """Which ledger this is: another one than its restored backup, though both have the same positions."""
        ...

    async def close(self) -> None:
        """Release every connection."""
        ...


class LedgerStore(LedgerReading, Protocol):
    """The events of all streams, and the way in for more."""

    def write(self) -> AbstractContextManager[Transaction]:
        """A write transaction: committed at the end of the block, rolled back when it raises. Blocks.

        Raises:
            CommitInDoubtError: the store went away in the middle of the commit, and stayed away.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        ...

    def aside(self) -> AbstractContextManager[Transaction]:
        """A transaction without the ledger's lock, which does not wait for the disk: for read models alone. Blocks.

        Raises:
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        ...

    def require_writable(self, *, with_room: bool) -> None:
        """Pass where a write goes through; ``with_room`` asks for room for many more. Blocks.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        ...

    def scrub(self) -> bool:
        """Leave nothing in files of the store's own of what was deleted; False where a reader is in the way. Blocks.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        ...
