"""Leases in PostgreSQL, by the clock of the database: where there are nodes, the ledger lies there.

Whoever writes under a lease has its row ``FOR KEY SHARE``: nobody takes it over meanwhile, and its holder renews it all
the same. Nothing here waits for a lock of others: what cannot be had now may be had at the next beat.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chatledger.adapters.persistence.errors import storage_errors
from chatledger.adapters.persistence.tables import PROCESS_LEASES
from chatledger.application.ports.leases import Lease, LeaseLostError

T = TypeVar("T")

_NOW: sa.ColumnElement[int] = sa.literal_column(
    "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)", sa.BigInteger
)
"""Microseconds since the epoch, when a row's turn has come: not when the transaction began."""

_row = PROCESS_LEASES.c


class PostgresLeases:
    """A thread and a connection of its own: no commit and no long read keeps a lease from being renewed.

    Args:
        engine: connections to the ledger's database that may write; given back at the end.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="leases")

    async def acquire(self, names: Collection[str], holder: str, seconds: float) -> Sequence[Lease]:
        """Take those of these leases that are free; what this holder has already it takes anew.

        Raises:
            StorageUnavailableError: the store is in trouble. They may have been taken all the same.
        """
        is_free = sa.or_(_row.expires_at <= _NOW, _row.holder == holder)
        mine: dict[str, Any] = {"holder": holder, "expires_at": _end(seconds)}
        nobodys = [{"name": name, "holder": "", "token": 0, "expires_at": 0} for name in sorted(names)]

        def acquire(connection: sa.Connection) -> list[Lease]:
            connection.execute(insert(PROCESS_LEASES).on_conflict_do_nothing(), nobodys)
            free = _lock(connection, _row.name.in_(names), is_free)
            if not free:
                return []
            # A token that a crash of the database took back would be given out twice.
            connection.execute(sa.text("SET LOCAL synchronous_commit TO on"))
            taken = sa.update(PROCESS_LEASES).where(_row.name.in_(free)).values(mine | {"token": _row.token + 1})
            tokens = connection.execute(taken.returning(_row.name, _row.token))
            return sorted((Lease(row.name, holder, row.token) for row in tokens), key=lambda lease: lease.name)

        return await self._run(acquire) if names else []

    async def renew(self, leases: Collection[Lease], seconds: float) -> Sequence[Lease]:
        """Let them last so long from now on; those that have ended, or were taken by another, are not among the result.

        Raises:
            StorageUnavailableError: the store is in trouble. They may have been renewed all the same.
        """

        def renew(connection: sa.Connection) -> list[Lease]:
            held = sa.or_(*map(_is, leases))
            names = _lock(connection, held, _row.expires_at > _NOW, key_share=True)
            renewed = sa.update(PROCESS_LEASES).where(_row.name.in_(names))
            connection.execute(renewed.values(expires_at=_end(seconds)))
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
        held = sa.select(_row.token).where(_is(lease)).with_for_update(read=True, key_share=True)
        if connection.execute(held).first() is None:
            raise LeaseLostError(lease.name)


def _end(seconds: float) -> sa.ColumnElement[int]:
    return _NOW + int(seconds * 1_000_000)


def _lock(connection: sa.Connection, *conditions: sa.ColumnElement[bool], key_share: bool = False) -> Collection[str]:
    """The names of those that nobody else is about to change; with ``key_share`` whoever writes under one may go on."""
    rows = sa.select(_row.name).where(*conditions).with_for_update(skip_locked=True, key_share=key_share)
    return connection.scalars(rows).all()


def _is(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(_row.name == lease.name, _row.token == lease.token)


def _end_of(lease: Lease) -> sa.Update:
    return sa.update(PROCESS_LEASES).where(_is(lease)).values(expires_at=0)
