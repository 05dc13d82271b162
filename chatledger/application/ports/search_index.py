"""The index of what was said: which messages hold which terms, without a word of it."""

from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

import msgspec


class IndexedMessage(msgspec.Struct, frozen=True):
    """A message and what it can be found by.

    Attributes:
        number: the ledger position at which it began; later messages have higher ones.
        terms: keyed hashes, 64 bits with a sign, each once.
    """

    number: int
    message_id: UUID
    conversation_id: UUID
    terms: frozenset[int]


class FoundMessage(msgspec.Struct, frozen=True):
    """A message that has all the terms that were asked for; its words have to be looked at all the same."""

    number: int
    message_id: UUID


class SearchIndex(Protocol):
    """Disposable: what is lost is indexed anew.

    Everything here raises :class:`~chatledger.application.ports.storage.StorageUnavailableError` where the index is in
    trouble; then nothing was written. What writes raises
    :class:`~chatledger.application.ports.leases.LeaseLostError` where another node keeps it up by now.
    """

    async def prepare(self) -> None:
        """Make it where there is none: from then on it can be asked, whoever keeps it up."""
        ...

    async def begin(self, ledger: UUID, version: int) -> int:
        """Up to which position of this ledger it is made by this version; of any other it is emptied, and this is 0.

        What was removed, but had not left the disk, leaves it.
        """
        ...

    async def put(self, messages: Sequence[IndexedMessage], erased: Collection[UUID], position: int) -> None:
        """Add messages, remove those of erased conversations, and stand at a position; all in one."""
        ...

    async def purge(self) -> None:
        """Have what was removed leave the disk; nothing where it has."""
        ...

    async def find(self, terms: Collection[int], before: int | None, limit: int) -> list[FoundMessage]:
        """The newest messages with all of these terms, newest first; with ``before`` those of lower numbers."""
        ...

    async def close(self) -> None:
        """Release it, once what is under way is done."""
        ...
