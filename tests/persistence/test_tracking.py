"""What tracking does to the connection that the ledger's own commits are made on."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import sqlalchemy as sa

from chatledger.adapters.persistence.tracking import SqlTrackedProjection, SqlTracking
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.tracking import EffectFailedError
from tests.persistence.stores import Store
from tests.support.host_tables import SeenEvents

T = TypeVar("T")


class Dialect:
    """How each database says and sets that a commit waits for the disk, and that nothing can be written."""

    def __init__(self, name: str) -> None:
        on_sqlite = name == "sqlite"
        self.show = "PRAGMA synchronous" if on_sqlite else "SHOW synchronous_commit"
        self.waits, self.does_not_wait = (2, 1) if on_sqlite else ("on", "off")
        self.wait = "PRAGMA synchronous=FULL" if on_sqlite else "SET synchronous_commit TO on"
        self.refuse = "PRAGMA query_only=ON" if on_sqlite else "SET default_transaction_read_only TO on"
        self.accept = "PRAGMA query_only=OFF" if on_sqlite else "SET default_transaction_read_only TO off"


@pytest.fixture
def tracking(store: Store) -> SqlTracking:
    async def run(work: Callable[[], T]) -> T:
        return work()

    return SqlTracking(store.writing, store.ledger._reader, run, store.clock)


@pytest.fixture
def dialect(store: Store) -> Dialect:
    return Dialect(store.writing.dialect.name)


def between_transactions(store: Store, sql: str) -> None:
    with store.writing.connect() as connection:
        driver = connection.connection.driver_connection
        driver.execute(sql)
        driver.commit()


async def test_a_projection_does_not_wait_for_the_disk_and_the_ledgers_own_commits_do(
    store: Store, tracking: SqlTracking, dialect: Dialect
) -> None:
    def waiting() -> object:
        with store.writing.connect() as connection:
            return connection.execute(sa.text(dialect.show)).scalar_one()

    between_transactions(store, dialect.wait)
    during: list[object] = []

    class Watching(SeenEvents):
        def prepare(self, connection):
            super().prepare(connection)
            during.append(connection.execute(sa.text(dialect.show)).scalar_one())

        def reset(self, connection):
            raise ZeroDivisionError

    with pytest.raises(EffectFailedError):
        await SqlTrackedProjection(Watching(), tracking).begin()
    assert (during, waiting()) == ([dialect.does_not_wait], dialect.waits)
    await SqlTrackedProjection(SeenEvents(), tracking).begin()
    assert waiting() == dialect.waits


async def test_a_store_in_trouble_is_not_the_projections_fault(
    store: Store, tracking: SqlTracking, dialect: Dialect
) -> None:
    tracked = SqlTrackedProjection(SeenEvents(), tracking)
    await tracked.begin()
    between_transactions(store, dialect.refuse)
    with pytest.raises(StorageUnavailableError):
        await tracked.project(0, [], 1)
    with pytest.raises(StorageUnavailableError):
        await tracking.move("seen", 1)
    between_transactions(store, dialect.accept)
    assert await tracked.project(0, [], 1) == 1
