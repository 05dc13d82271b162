"""What the queue and the bus of a process share: two connections to PostgreSQL, one that works and one that hears."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, LiteralString
from uuid import UUID, uuid4

import msgspec
import psycopg

from chatledger.adapters.postgres_connections import BoundedConnection, PostgresAddress, PostgresListener
from chatledger.application.ports.queue import QueueUnavailableError
from chatledger.application.ports.storage import StorageUnavailableError

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds that a statement may take: nothing here is worth waiting for."""

PAUSE = 0.5
"""Seconds in which a database that was away is not asked again."""


class Notice(msgspec.Struct, frozen=True, array_like=True):
    """That something happened to a message, by the name of the event."""

    message_id: UUID
    conversation_id: UUID
    event: str


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What travels on the channel: notices of a node; where there are none, that work waits."""

    node: UUID
    notices: Sequence[Notice] = ()


class PostgresLink:
    """A connection that works, in a thread of its own, and one that hears; each is made anew where it was lost.

    Nothing that is done by it need survive: it does not wait for the disk. What the bus tells waits for two statements
    of the queue at most, which are short. On a connection of its own it would wait for their commits all the same:
    PostgreSQL puts those that notify in line.

    Attributes:
        node: who this process is on the channel, and as a holder of tasks.
        is_away: whether the last statement failed, or got no answer in time.
    """

    def __init__(self, url: str) -> None:
        self.node = uuid4()
        self._address = PostgresAddress(url)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="queue")
        self._connection: BoundedConnection | None = None
        self._away_until = 0.0
        self.is_away = False
        self._listener: PostgresListener | None = None

    async def run(self, statement: LiteralString, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of one statement, which is a transaction of its own.

        Raises:
            QueueUnavailableError: the database cannot be reached, or did not answer in time.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, statement, parameters)

    async def hear(self, told: Callable[[Told], None], missed: Callable[[], None]) -> None:
        """Begin to hear, in this event loop, what other processes tell; and where something may have been missed.

        It hears by the time that this returns, or as soon as the database is there.
        """
        loop, decoder, hears = asyncio.get_running_loop(), msgspec.json.Decoder(Told), asyncio.Event()

        def hear(payloads: Sequence[str]) -> None:
            if not payloads:
                loop.call_soon_threadsafe(missed)
                loop.call_soon_threadsafe(hears.set)
            for payload in payloads:
                try:
                    what = decoder.decode(payload)
                except msgspec.MsgspecError:
                    continue  # another release's: what it tells of is found on the ledger
                if what.node != self.node:
                    loop.call_soon_threadsafe(told, what)

        self._listener = PostgresListener(self._address.connect, "queue_channel()", hear)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await hears.wait()

    async def close(self) -> None:
        """Give both connections back."""
        if self._listener is not None:
            await asyncio.to_thread(self._listener.close)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    # In the thread

    def _run(self, statement: LiteralString, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        if time.monotonic() < self._away_until:
            raise QueueUnavailableError(f"{self._address.place} is away")
        try:
            rows = self._executed(statement, parameters)
        except (psycopg.Error, StorageUnavailableError) as error:
            self._disconnect()
            self._away_until = time.monotonic() + PAUSE
            if not self.is_away:
                log.warning("queue: %s is away; the ledger is looked at instead", self._address.place)
            self.is_away = True
            raise QueueUnavailableError(f"{self._address.place}: {type(error).__name__}") from error
        self.is_away = False
        return rows

    def _executed(self, statement: LiteralString, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """On the connection; one that was lost while it lay idle is replaced, once."""
        if self._connection is not None:
            try:
                return self._connection.execute(statement, parameters).fetchall()
            except psycopg.OperationalError:
                if not self._connection.closed:
                    raise
        self._connection = self._address.connect()
        self._connection.execute("SELECT set_config('synchronous_commit', 'off', false)")
        self._connection.patience = PATIENCE
        return self._connection.execute(statement, parameters).fetchall()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
