"""Leases: who of several nodes does what is to be done by one at a time."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec


class Lease(msgspec.Struct, frozen=True):
    """The right to do something alone, for a while.

    Attributes:
        name: what is done.
        holder: the node that has it.
        token: the fencing token: it rises whenever the lease is taken, so of two holders the higher one is the later.
    """

    name: str
    holder: str
    token: int


Fence = Callable[[], Lease | None]
"""Tells the lease under which somebody writes: one that was taken by another since makes the store refuse the write."""


def no_fence() -> None:
    """For who has the ledger to itself."""


class LeaseLostError(Exception):
    """A write is refused: the lease that it was to be made under has been taken by another holder since."""


class Leases(Protocol):
    """The leases of all nodes. One clock, which is no node's own, tells when they end."""

    async def acquire(self, names: Collection[str], holder: str, seconds: float) -> Sequence[Lease]:
        """Take those of these leases that are free; what this holder has already it takes anew.

        Raises:
            StorageUnavailableError: the store is in trouble. They may have been taken all the same.
        """
        ...

    async def renew(self, leases: Collection[Lease], seconds: float) -> Sequence[Lease]:
        """Let them last so long from now on; those that have ended, or were taken by another, are not among the result.

        Raises:
            StorageUnavailableError: the store is in trouble. They may have been renewed all the same.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Let anybody have it at once. One that another holder has by now stays as it is.

        Raises:
            StorageUnavailableError: the store is in trouble; it ends by itself.
        """
        ...
