from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from chatledger.adapters.persistence.database import database_at
from chatledger.adapters.persistence.search_index import SqlSearchIndex
from chatledger.application.ports.queue import LiveBus, TaskQueue
from chatledger.application.system_clock import new_id
from tests.contracts.adapters import (
    BLOB_STORES,
    CHECKPOINT_SINKS,
    DELIVERIES,
    KEYRINGS,
    LEASES,
    LEDGER_STORES,
    NOTARY_MEMORIES,
    QUEUES,
    RATE_LIMITERS,
    SIGNING_KEYS,
    TRACKINGS,
    WITHHELD_LEDGER_STORES,
    Followed,
    Kept,
    NatsPlace,
    Opener,
    Withheld,
)
from tests.contracts.text_models import TEXT_MODELS, Told
from tests.support.databases import connection_to
from tests.support.nats import NatsServer
from tests.support.small_disk import no_room_in_files

LEASE = 0.5
"""Seconds that a queue leaves what was taken to a process that keeps silent."""

_END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture
async def open_search_index(tmp_path: Path, database_url: str | None) -> AsyncIterator[Callable]:
    """Opens the index that lies beside a ledger; the same one each time."""
    database = database_at(database_url or f"sqlite:///{tmp_path / 'ledger.db'}")
    async with AsyncExitStack() as stack:

        async def open_one() -> SqlSearchIndex:
            index = SqlSearchIndex(database.beside("search"))
            stack.push_async_callback(index.close)
            return index

        yield open_one


@pytest.fixture
def queue_database(shared_database: str) -> Iterator[str]:
    """The same for all tests, and empty for each."""
    yield shared_database
    with connection_to(shared_database) as connection:
        connection.exec_driver_sql("DELETE FROM queued_tasks")


@pytest.fixture
def nats_place(nats_server: NatsServer) -> NatsPlace:
    """Of the test alone."""
    return NatsPlace((nats_server.url,), f"chatledger.{new_id().hex}")


def _opener(name: str, request: pytest.FixtureRequest) -> Opener:
    kind = QUEUES[name]
    return partial(kind.open, kind.place and request.getfixturevalue(kind.place))


@pytest.fixture(params=QUEUES)
async def open_queue(request: pytest.FixtureRequest) -> AsyncIterator[Callable]:
    opener = _opener(request.param, request)
    async with AsyncExitStack() as stack:

        async def open_one(bound: int = 100) -> TaskQueue:
            return (await stack.enter_async_context(opener(bound=bound, lease=LEASE))).tasks

        yield open_one


@pytest.fixture(params=QUEUES)
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[LiveBus]:
    async with _opener(request.param, request)(bound=100, lease=LEASE) as opened:
        yield opened.bus


@pytest.fixture(params=[name for name, kind in QUEUES.items() if kind.place])
def open_process(request: pytest.FixtureRequest) -> Opener:
    """Opens what each of several processes would, all at one place."""
    return partial(_opener(request.param, request), bound=100, lease=LEASE)


@pytest.fixture(params=RATE_LIMITERS)
async def rate_limiter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[object]:
    async with RATE_LIMITERS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module", params=BLOB_STORES)
async def blobs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[object]:
    async with BLOB_STORES[request.param](tmp_path_factory.mktemp("blobs")) as opened:
        yield opened


@pytest.fixture(params=CHECKPOINT_SINKS)
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    async with CHECKPOINT_SINKS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture(params=KEYRINGS)
def open_keyring(request: pytest.FixtureRequest, tmp_path: Path, keys_url: str | None) -> Opener:
    """Each in a file and in a database."""
    return partial(KEYRINGS[request.param], tmp_path, keys_url)


@pytest.fixture(params=SIGNING_KEYS)
def open_signing_keys(request: pytest.FixtureRequest, tmp_path: Path, keys_url: str | None) -> Opener:
    """Each in a file and in a database."""
    return partial(SIGNING_KEYS[request.param], tmp_path, keys_url)


@pytest.fixture(params=NOTARY_MEMORIES)
def open_notary_memory(request: pytest.FixtureRequest, tmp_path: Path, keys_url: str | None) -> Opener:
    """Each in a file and in a database."""
    return partial(NOTARY_MEMORIES[request.param], tmp_path, keys_url)


@pytest.fixture
def no_room_for_keys(keys_url: str | None) -> Callable[[], AbstractContextManager[None]]:
    """Inside nothing can be written to key stores that are open."""

    @contextmanager
    def that_takes_nothing() -> Iterator[None]:
        name = (keys_url or "").rpartition("/")[2]
        with connection_to(keys_url) as connection:
            for change in ("SET default_transaction_read_only = on", "RESET default_transaction_read_only"):
                connection.exec_driver_sql(f"ALTER DATABASE {name} {change}")
                connection.exec_driver_sql(_END_OTHERS)
                if change.startswith("SET"):
                    yield

    return no_room_in_files if keys_url is None else that_takes_nothing


@pytest.fixture(params=TRACKINGS)
async def followed(request: pytest.FixtureRequest, tmp_path: Path, database_url: str | None) -> AsyncIterator[Followed]:
    """Each on each database."""
    async with TRACKINGS[request.param](tmp_path, database_url) as opened:
        yield opened


@pytest.fixture(params=DELIVERIES)
async def deliveries(request: pytest.FixtureRequest, tmp_path: Path, database_url: str | None) -> AsyncIterator[object]:
    """Each on each database."""
    async with DELIVERIES[request.param](tmp_path, database_url) as opened:
        yield opened


@pytest.fixture(params=LEASES)
async def nodes(request: pytest.FixtureRequest, shared_database: str) -> AsyncIterator[object]:
    """Two on one ledger."""
    async with LEASES[request.param](shared_database) as opened:
        yield opened


@pytest.fixture(params=LEDGER_STORES)
async def ledger_store(
    request: pytest.FixtureRequest, tmp_path: Path, database_url: str | None
) -> AsyncIterator[object]:
    """Each on each database."""
    async with LEDGER_STORES[request.param](tmp_path, database_url) as opened:
        yield opened


@pytest.fixture(params=WITHHELD_LEDGER_STORES)
async def withheld(request: pytest.FixtureRequest, tmp_path: Path, database_url: str | None) -> AsyncIterator[Withheld]:
    """Each on each database."""
    async with WITHHELD_LEDGER_STORES[request.param](tmp_path, database_url) as opened:
        yield opened


@pytest.fixture(params=TEXT_MODELS)
async def model_told(request: pytest.FixtureRequest) -> AsyncIterator[Told]:
    async with TEXT_MODELS[request.param]() as told:
        yield told
