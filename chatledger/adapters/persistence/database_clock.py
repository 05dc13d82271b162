"""The time of day that all nodes of a ledger go by: the database's."""

import asyncio
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime

import sqlalchemy as sa

from chatledger.adapters.persistence.store import Reader
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.storage import StorageUnavailableError

log = logging.getLogger(__name__)

SECONDS_BETWEEN_READINGS = 1.0

SECONDS_WORTH_TELLING = 1.0

_READING = sa.text("SELECT extract(epoch FROM clock_timestamp())")


class DatabaseClock:
    """Tells the database's time by this machine's monotonic clock, as far on as that has run since a reading.

    A reading takes a moment, at some point of which the database told the time. So it says between which bounds the
    truth lies, and the clock is moved no further than into these: a slow one does no harm.

    Args:
        machine: its time of day is what is taken for the database's until the first reading.
    """

    def __init__(self, machine: Clock) -> None:
        self._began_at = machine.now().timestamp() - time.monotonic()

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.fromtimestamp(self._began_at + time.monotonic(), UTC)

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()

    def read(self, connection: sa.Connection) -> None:
        """Ask the database what time it is. Blocks."""
        asked = time.monotonic()
        told = float(connection.execute(_READING).scalar_one())
        answered = time.monotonic()
        began_at = min(max(self._began_at, told - answered), told - asked)
        if abs(began_at - self._began_at) > SECONDS_WORTH_TELLING:
            log.warning("the database's clock is gone by, which differs by %+.1f s", began_at - self._began_at)
        self._began_at = began_at

    async def run(self, reader: Reader) -> None:
        """Ask again and again; while the store is in trouble the clock just runs on."""
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_READINGS)
            with suppress(StorageUnavailableError):
                await reader.query_as_it_is(self.read)
