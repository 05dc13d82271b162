"""A ledger as its auditor reads it: the columns as they are stored, in order, without any of the writer's rules."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from chatledger.application.ports.storage import RawRow


class RawStream(NamedTuple):
    """What the events of a stream share."""

    stream_id: bytes
    category: str
    key_id: bytes | None


class RawHead(NamedTuple):
    """Where the ledger says that it ends."""

    position: int
    recorded_at: int
    last_stream: int
    incarnation: bytes


Keeper = Literal["ledger", "notary", "outside"]
"""Who keeps a checkpoint: the ledger of itself; its notary, beside its keys; or somebody outside."""


class ClaimedCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint as somebody has kept it.

    Attributes:
        number: its place among those that are kept there, 1, 2, 3, ...
        origin: of which log it is, as it is filed; None where it is filed under nothing.
        size: of its tree, as it is filed; None likewise.
        note: the signed note.
        keeper: who has kept it.
    """

    number: int
    origin: str | None
    size: int | None
    note: bytes
    keeper: Keeper = "ledger"


class AuditedLedger(Protocol):
    """One ledger, as it stood at one moment. Blocks."""

    @property
    def place(self) -> str:
        """Where it is, without any secret."""
        ...

    def expected(self) -> int:
        """How many events are likely to be there."""
        ...

    def heads(self) -> Sequence[RawHead] | None:
        """Its head: one, unless somebody was at it. None where it has no place for one."""
        ...

    def event_types(self) -> Mapping[int, tuple[str, int]]:
        """Names and schemas of events, by their numbers: those met so far, where they are met one by one."""
        ...

    def count_streams(self) -> int:
        """How many streams there are: so far, where they are met one by one."""
        ...

    def last_stream(self) -> int:
        """The highest number that a stream has."""
        ...

    def streams(self, numbers: Collection[int]) -> Mapping[int, RawStream]:
        """Those that there are of these numbers."""
        ...

    def pages(self) -> Iterator[Sequence[RawRow]]:
        """All events, by their positions. What a column holds may be of any type: nobody has looked."""
        ...

    def checkpoints(self) -> Iterator[ClaimedCheckpoint]:
        """Those that it keeps of itself, by their sizes."""
        ...

    def tiles(self, level: int, first: int, count: int) -> Mapping[int, bytes]:
        """The roots of these tiles by their numbers, as far as they are kept."""
        ...

    def count_tiles(self) -> int:
        """How many tiles are kept."""
        ...
