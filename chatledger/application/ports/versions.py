"""The versions of read models that the nodes of several releases keep beside each other."""

from collections.abc import Collection
from typing import Protocol

import msgspec


class SeenVersions(msgspec.Struct, frozen=True):
    """What one look shows.

    Attributes:
        kept: the other versions that there are tables of.
        in_use: the other versions that nodes have which may append.
        is_here: whether there are tables of this release's.
        lags_behind: whether this release's tables do not show all that is committed.
    """

    kept: Collection[int]
    in_use: Collection[int]
    is_here: bool
    lags_behind: bool


class Versions(Protocol):
    """The versions that there are beside this release's."""

    async def look(self) -> SeenVersions:
        """See how they stand.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        ...

    async def drop(self, version: int) -> bool:
        """Drop the tables of a version; False where a node has it, or another one has dropped them.

        Raises:
            StorageUnavailableError: the store is in trouble; nothing was changed.
        """
        ...

    async def make(self) -> None:
        """Make this release's tables, empty, where there are none.

        Raises:
            StorageUnavailableError: the store is in trouble; nothing was changed.
        """
        ...
