"""Read models in memory, for questions about the past: filled from a few streams, asked, and emptied again."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import UUID

import sqlalchemy as sa

from chatledger.adapters.persistence.tables import METADATA
from chatledger.adapters.persistence.transaction import SqlTransaction
from chatledger.adapters.persistence.views import SqlViews
from chatledger.application.ledger.projections import READ_MODELS
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ports.storage import LAST_POSITION, Change
from chatledger.application.ports.views import MessageView

T = TypeVar("T")

SCRATCHES = 2
"""How many questions about the past are answered at once: the others wait, and nobody waits for a reading thread."""


class ScratchViews(SqlViews):
    """The same queries on read models of the past, which hold some messages of a conversation and not the others."""

    def __init__(self, scratch: "SqlScratch", seals: RowSeals, live: SqlViews, position: int) -> None:
        super().__init__(scratch, seals)
        self._live = live
        self._position = position

    async def siblings(self, message: MessageView, up_to: int = LAST_POSITION) -> list[UUID]:
        """By the read models of now: where a message hangs never changes."""
        return await self._live.siblings(message, min(self._position, up_to))


class SqlScratch:
    """One database in memory, in a thread of its own: whatever is asked of it comes in order, its emptying too."""

    def __init__(self, seals: RowSeals, live: SqlViews) -> None:
        self._seals = seals
        self._live = live
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-past")
        self._engine = sa.create_engine(
            "sqlite://", creator=_in_memory, poolclass=sa.pool.StaticPool, hide_parameters=True
        )
        self._is_made = False

    async def apply(self, changes: Sequence[Change]) -> None:
        """Move the read models."""
        await self.query(lambda connection: SqlTransaction(connection).apply(changes))

    def views(self, position: int) -> ScratchViews:
        """Their answers, where they stand as at that position."""
        return ScratchViews(self, self._seals, self._live, position)

    async def query(self, read: Callable[[sa.Connection], T]) -> T:
        """The result of ``read``."""

        def work() -> T:
            with self._engine.begin() as connection:
                return read(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def empty(self) -> None:
        """Make the tables, or whatever is left in them gone."""
        await self.query(self._emptied)

    def _emptied(self, connection: sa.Connection) -> None:
        if self._is_made:
            SqlTransaction(connection).clear(READ_MODELS)
        else:
            METADATA.create_all(connection, [METADATA.tables[name] for name in READ_MODELS])
            self._is_made = True

    def close(self) -> None:
        """End the thread and release the memory. Blocks."""
        self._thread.shutdown(wait=True)
        self._engine.dispose()


class SqlScratches:
    """A few of them."""

    def __init__(self, seals: RowSeals, live: SqlViews, number: int = SCRATCHES) -> None:
        self._all = [SqlScratch(seals, live) for _ in range(number)]
        self._free = list(self._all)
        self._places = asyncio.Semaphore(number)

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[SqlScratch]:
        """One that nobody else uses meanwhile. Waits where all are in use."""
        async with self._places:
            scratch = self._free.pop()
            try:
                await scratch.empty()
                yield scratch
            finally:
                self._free.append(scratch)

    async def close(self) -> None:
        """Release all of them, once what is being asked has been answered."""
        for scratch in self._all:
            await asyncio.to_thread(scratch.close)


def _in_memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
