"""Whose turn it is to make the read models anew."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import sqlalchemy as sa

from chatledger.adapters.persistence.statements import statements_of
from chatledger.adapters.persistence.store import Reader
from chatledger.adapters.persistence.unhurried import unhurried
from chatledger.application.errors import RebuildRunningError
from chatledger.application.ports.storage import StorageUnavailableError


class RebuildTurn:
    """One node's, as long as the connection lives that took it.

    Args:
        writing: the writing connection.
        rebuilder: whose turn it is.
    """

    def __init__(self, writing: sa.Engine, rebuilder: int) -> None:
        self._writing = writing
        self._rebuilder = rebuilder

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction on tables beside the live ones.

        Raises:
            StorageUnavailableError: the store is in trouble, or another node may have the turn; nothing was written.
        """
        with unhurried(self._writing) as connection:
            yield connection
            self.require(connection)

    def require(self, connection: sa.Connection) -> None:
        """Pass if nobody else has touched what this transaction has written, and so locked.

        Raises:
            StorageUnavailableError: somebody may have.
        """
        if not statements_of(connection).is_rebuilt_by(self._rebuilder):
            raise StorageUnavailableError("the connection was lost that kept other nodes from a rebuild")


@asynccontextmanager
async def as_the_only_one(reader: Reader) -> AsyncIterator[int]:
    """Make read models anew while no other node does. The next may begin as soon as it is left.

    Gives who that is, for :class:`RebuildTurn`.

    Raises:
        RebuildRunningError: another node does.
    """
    rebuilder = await reader.query(lambda connection: statements_of(connection).try_to_rebuild())
    if rebuilder is None:
        raise RebuildRunningError("A rebuild of the read models is under way on another node.")
    try:
        yield rebuilder
    finally:
        with suppress(StorageUnavailableError):  # then the server sees that the connection is gone
            ending = reader.query_as_it_is(lambda connection: statements_of(connection).end_rebuild())
            await asyncio.shield(ending)
