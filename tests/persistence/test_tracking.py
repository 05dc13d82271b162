"""What tracking does on SQLite beyond what every tracking promises."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from chatledger.adapters.persistence.tracking import SqlTrackedProjection, SqlTracking
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.tracking import EffectFailedError
from tests.persistence.stores import Store
from tests.support.host_tables import SeenEvents

T = TypeVar("T")

NORMAL, FULL = 1, 2


@pytest.fixture
def tracking(store: Store) -> SqlTracking:
    async def run(work: Callable[[], T]) -> T:
        return work()

    return SqlTracking(store.writing, store.ledger._reader, run, store.clock)


async def test_the_ledgers_own_commits_wait_for_the_disk_as_before(store: Store, tracking: SqlTracking) -> None:
    def synchronous() -> int:
        with store.writing.connect() as connection:
            return connection.exec_driver_sql("PRAGMA synchronous").scalar_one()

    with store.writing.connect() as connection:
        connection.connection.driver_connection.execute("PRAGMA synchronous=FULL")
    during: list[int] = []

    class Watching(SeenEvents):
        def prepare(self, connection):
            super().prepare(connection)
            during.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

        def reset(self, connection):
            raise ZeroDivisionError

    with pytest.raises(EffectFailedError):
        await SqlTrackedProjection(Watching(), tracking).begin()
    assert (during, synchronous()) == ([NORMAL], FULL)
    await SqlTrackedProjection(SeenEvents(), tracking).begin()
    assert synchronous() == FULL


async def test_a_store_in_trouble_is_not_the_projections_fault(store: Store, tracking: SqlTracking) -> None:
    tracked = SqlTrackedProjection(SeenEvents(), tracking)
    await tracked.begin()
    with store.writing.begin() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(StorageUnavailableError):
        await tracked.project(0, [], 1)
    with pytest.raises(StorageUnavailableError):
        await tracking.move("seen", 1)
    with store.writing.connect() as connection:
        connection.connection.driver_connection.execute("PRAGMA query_only=OFF")
    assert await tracked.project(0, [], 1) == 1
