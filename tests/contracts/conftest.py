from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from chatledger.adapters.persistence.database import database_at
from chatledger.adapters.persistence.search_index import SqlSearchIndex
from tests.contracts.adapters import (
    BLOB_STORES,
    CHECKPOINT_SINKS,
    DELIVERIES,
    KEYRINGS,
    LEASES,
    LEDGER_STORES,
    LIVE_BUSES,
    RATE_LIMITERS,
    SIGNING_KEYS,
    TASK_QUEUES,
    TRACKINGS,
    WITHHELD_LEDGER_STORES,
    Followed,
    Kept,
    Opener,
    Withheld,
)
from tests.contracts.text_models import TEXT_MODELS, Told


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


@pytest.fixture(params=TASK_QUEUES)
async def open_queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable]:
    async with AsyncExitStack() as stack:
        yield lambda bound=100: stack.enter_async_context(TASK_QUEUES[request.param](tmp_path, bound))


@pytest.fixture(params=LIVE_BUSES)
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[object]:
    async with LIVE_BUSES[request.param](tmp_path) as opened:
        yield opened


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
def open_keyring(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return partial(KEYRINGS[request.param], tmp_path)


@pytest.fixture(params=SIGNING_KEYS)
def open_signing_keys(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return partial(SIGNING_KEYS[request.param], tmp_path)


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
async def nodes(request: pytest.FixtureRequest, tmp_path: Path, database_url: str | None) -> AsyncIterator[object]:
    """Two, each on each database."""
    async with LEASES[request.param](tmp_path, database_url) as opened:
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
