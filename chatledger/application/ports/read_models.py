"""Read models made anew beside the live ones, and put in their place."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

import msgspec

from chatledger.application.ports.storage import Change, StorageUnavailableError, Transaction

T = TypeVar("T")


class ComparedTable(msgspec.Struct, frozen=True):
    """One read model beside its replay.

    A digest is SHA-256 over all rows in the order of their keys, each as a line of JSON; both databases give the same.
    Where the live read models are of another version there is nothing to compare, and what was found out by that is
    None.

    Attributes:
        rows: how many the replay made.
        digest: of the replay, in hexadecimal.
        live_rows: how many the live one had.
        live_digest: of the live one.
        differences: rows that differ, that are missing, or that should not be there.
        different: the keys of the first of them.
    """

    table: str
    rows: int
    digest: str
    live_rows: int
    live_digest: str | None
    differences: int | None
    different: Sequence[str]


class Comparison(msgspec.Struct, frozen=True):
    """All read models, each beside its replay, as they stood at one position of the ledger."""

    position: int
    differences: int
    tables: Sequence[ComparedTable]


class ReadersInTheWayError(StorageUnavailableError):
    """Transactions that began long ago still read the live read models, which nothing else may replace meanwhile."""


class Successors(Protocol):
    """Read models that are being made. Nobody reads them before :meth:`switch`, and the live ones stay as they are."""

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """What ``work`` makes of one snapshot of the ledger, in a thread for this alone. Its ``head`` is not asked."""
        ...

    async def apply(self, changes: Sequence[Change]) -> None:
        """Change them, in pieces so small that the ledger's commits in between hardly wait."""
        ...

    async def join(self, last_changes: Callable[[Transaction], Sequence[Change]]) -> float:
        """Bring them to the head under the ledger's lock: from here on every commit changes them with the live ones.

        ``last_changes`` gives what they lack, of a transaction that has the lock. For how many seconds that was held.
        """
        ...

    async def compare(self) -> Comparison:
        """Compare them with the live ones, in one snapshot and without a lock. They have been joined."""
        ...

    async def switch(self) -> float:
        """Put them in the place of the live ones; for how many seconds the ledger's lock was held.

        Raises:
            ReadersInTheWayError: readers did not end; nothing was changed.
        """
        ...


class ReadModels(Protocol):
    """The read models of a ledger. All blocking work is done in threads."""

    def successors(self) -> AbstractAsyncContextManager[Successors]:
        """Empty tables beside the live ones; at the end those that are not live are removed.

        Raises:
            StorageUnavailableError: the store is in trouble; the live read models are as they were.
        """
        ...
