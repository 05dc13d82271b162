"""What the notary needs: the leaves of the ledger, a place for what it signs, and somebody outside who keeps it too."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

T = TypeVar("T")


class SignedCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint on record. Kept for ever: it is evidence.

    Attributes:
        number: 1, 2, 3, ... in the order in which they were signed.
        origin: the log that it is of.
        size: how many events it covers.
        note: the signed note, byte for byte.
        signed_at: microseconds since the epoch.
    """

    number: int
    origin: str
    size: int
    note: bytes
    signed_at: int


class Backlog(msgspec.Struct, frozen=True):
    """The checkpoints that the sink has not taken yet.

    Attributes:
        count: how many those are.
        since: when the oldest of them was signed, in microseconds since the epoch; None where there is none.
    """

    count: int
    since: int | None


class TreeRows(Protocol):
    """The ledger's tree as it is stored, in one snapshot. Blocks."""

    def size(self) -> int:
        """How many events the ledger says it has."""
        ...

    def leaves(self, first: int, count: int) -> Sequence[bytes]:
        """The hashes of these leaves, the first of all at 0: fewer, where one of them is not there."""
        ...

    def tiles(self, level: int, first: int, count: int) -> Mapping[int, bytes]:
        """The roots of these full tiles by their numbers, as far as they are stored."""
        ...

    def next_tile(self, level: int) -> int:
        """The number after the last tile that is stored at a level."""
        ...


class NotaryStore(Protocol):
    """Reads what the notary goes by. What it writes goes with the commits of the ledger."""

    async def read(self, work: Callable[[TreeRows], T]) -> T:
        """The result of ``work``, in one snapshot, off the event loop.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        ...

    async def incarnation(self) -> UUID:
        """Which ledger this is: another one after a restore."""
        ...

    async def newest(self, origin: str) -> SignedCheckpoint | None:
        """The last checkpoint of a log."""
        ...

    async def of_size(self, origin: str, size: int) -> SignedCheckpoint | None:
        """The last checkpoint of a log that covers so many events."""
        ...

    async def verifier_keys(self, origin: str) -> Sequence[str]:
        """The keys of a log that were introduced on the ledger, oldest first."""
        ...

    async def last_number(self) -> int:
        """The number of the last checkpoint, of whatever log; 0 where there is none."""
        ...

    async def undelivered(self, limit: int) -> Sequence[SignedCheckpoint]:
        """The oldest checkpoints that the sink has not taken yet, in order."""
        ...

    async def backlog(self) -> Backlog:
        """How far the sink is behind."""
        ...


class NotaryMemory(Protocol):
    """What is known of the ledger apart from it: whoever rewrites the ledger does not find it there."""

    def incarnation(self) -> UUID | None:
        """Of which ledger all this is; None where nobody has said so yet. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        ...

    def recall(self, origin: str) -> bytes | None:
        """The last note of a log. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        ...

    def remember(self, origin: str, note: bytes, *, instead_of: bytes | None) -> bool:
        """Keep this one in the place of another, durably; False where that is not the last note any more. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be written.
        """
        ...


class SinkUnavailableError(Exception):
    """The sink did not take a checkpoint; it is to be offered again. The text holds no address: that may be secret."""


class CheckpointSink(Protocol):
    """A place outside that keeps checkpoints too, so that nobody can sign another past without being found out."""

    async def put(self, checkpoint: SignedCheckpoint) -> None:
        """Have it kept: it is, once this returns. The same one may come again.

        Raises:
            SinkUnavailableError: it was not, or nobody knows.
        """
        ...

    async def close(self) -> None:
        """Give every connection back."""
        ...
