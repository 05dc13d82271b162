"""Leases on SQL, by the clock of the database."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import sqlalchemy as sa

from chatledger.adapters.persistence.errors import storage_errors
from chatledger.adapters.persistence.tables import PROCESS_LEASES
from chatledger.adapters.persistence.tracking import insert
from chatledger.application.ports.leases import Lease, LeaseLostError

T = TypeVar("T")

_NOW = {
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
}
"""Microseconds since the epoch, when a row's turn has come: not when the transaction began."""

_row = PROCESS_LEASES.c


class SqlLeases:
    """A thread and a connection of its own: no commit and no long read keeps a lease from being renewed.

    Args:
        engine: connections to the ledger's database that may write; given back at the end.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._now: sa.ColumnElement[int] = sa.literal_column(_NOW[engine.dialect.name], sa.BigInteger)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="leases")

    async def acquire(self, names: Collection[str], holder: str, seconds: float) -> Sequence[Lease]:
        """Take those of these leases that are free; what this holder has already it takes anew.

        Raises:
            StorageUnavailableError: the store is in trouble. They may have been taken all the same.
        """
        is_taken = sa.and_(_row.expires_at > self._now, _row.holder != holder)

        def acquire(connection: sa.Connection) -> list[Lease]:
            wanted = sorted(set(names))
            taken = set(connection.scalars(sa.select(_row.name).where(_row.name.in_(wanted), is_taken)))
            free = [name for name in wanted if name not in taken]
            if free and connection.dialect.name == "postgresql":
                # A token that a crash of the database took back would be given out twice.
                connection.execute(sa.text("SET LOCAL synchronous_commit TO on"))
            leases = [self._take(connection, name, holder, seconds) for name in free]
            return [lease for lease in leases if lease is not None]

        return await self._run(acquire)

    def _take(self, connection: sa.Connection, name: str, holder: str, seconds: float) -> Lease | None:
        """Unless another holder was quicker."""
        mine: dict[str, Any] = {"holder": holder, "expires_at": self._end(seconds)}
        taken = (
            insert(connection, PROCESS_LEASES)
            .values(mine | {"name": name, "token": 1})
            .on_conflict_do_update(
                index_elements=[_row.name],
                set_=mine | {"token": _row.token + 1},
                where=sa.or_(_row.expires_at <= self._now, _row.holder == holder),
            )
            .returning(_row.token)
        )
        token = connection.scalar(taken)
        return None if token is None else Lease(name, holder, token)

    async def renew(self, leases: Collection[Lease], seconds: float) -> Sequence[Lease]:
        """Let them last so long from now on; those that have ended, or were taken by another, are not among the result.

        Raises:
            StorageUnavailableError: the store is in trouble. They may have been renewed all the same.
        """
        renewed = (
            sa.update(PROCESS_LEASES)
            .where(sa.or_(sa.false(), *map(_is, leases)), _row.expires_at > self._now)
            .values(expires_at=self._end(seconds))
            .returning(_row.name)
        )

        def renew(connection: sa.Connection) -> list[Lease]:
            names = set(connection.scalars(renewed))
            return [lease for lease in leases if lease.name in names]

        return await self._run(renew) if leases else []

    async def release(self, lease: Lease) -> None:
        """Let anybody have it at once. One that another holder has by now stays as it is.

        Raises:
            StorageUnavailableError: the store is in trouble; it ends by itself.
        """
        await self._run(lambda connection: connection.execute(_end_of(lease)))

    async def close(self) -> None:
        """Give the connection back, once what is under way is done."""
        await asyncio.to_thread(self._thread.shutdown)
        self._engine.dispose()

    def _end(self, seconds: float) -> sa.ColumnElement[int]:
        return self._now + int(seconds * 1_000_000)

    async def _run(self, work: Callable[[sa.Connection], T]) -> T:
        def run() -> T:
            with storage_errors(), self._engine.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)


def require_lease(connection: sa.Connection, lease: Lease | None) -> None:
    """Pass where nobody has taken the lease since, nor will before this transaction ends.

    Args:
        connection: in the transaction that writes what the lease is for.
        lease: None where one process has the ledger to itself.

    Raises:
        LeaseLostError: another holder has taken it.
    """
    if lease is not None:
        held = sa.select(_row.token).where(_is(lease)).with_for_update(read=True)
        if connection.execute(held).first() is None:
            raise LeaseLostError(lease.name)


def _is(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(_row.name == lease.name, _row.token == lease.token)


def _end_of(lease: Lease) -> sa.Update:
    return sa.update(PROCESS_LEASES).where(_is(lease)).values(expires_at=0)
