"""One server for all tests of this folder on each database, and one of each kind for those of the streams."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from chatledger.adapters.http.server import ServerKind
from tests.support.databases import NewLedger, settings_of
from tests.support.nats import NatsServer
from tests.support.nodes import BY_POSTGRES, by_nats, live_node
from tests.support.server import LiveServer, live_server


@pytest.fixture
def serve(tmp_path, database_url):
    """Serves the ledger of this test while inside, under any further settings."""
    return partial(live_server, tmp_path / "data", **settings_of(database_url))


@pytest.fixture(scope="session")
def open_server(
    request: pytest.FixtureRequest, database: str, new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory
):
    """Opens a server that many tests share, in the shape that the run asks for."""
    shape: str = request.config.getoption("--shape")
    if shape != "in_process" and database == "sqlite":
        pytest.skip("many processes need PostgreSQL")
    queue: dict[str, str] = request.getfixturevalue("queue")

    @asynccontextmanager
    async def opened(kind: ServerKind = "granian") -> AsyncIterator[LiveServer]:
        folder = tmp_path_factory.mktemp(kind)
        with new_ledger() as url:
            if shape == "in_process":
                async with live_server(folder / "data", kind=kind, **settings_of(url)) as live:
                    yield live
            else:
                async with live_node(folder, str(url), queue, kind=kind) as live:
                    yield live

    return opened


@pytest.fixture
def in_one_process(request: pytest.FixtureRequest) -> None:
    """Skips what is told in the process that does it, or at once there alone."""
    if request.config.getoption("--shape") != "in_process":
        pytest.skip("who answers is another process")


@pytest.fixture(scope="session")
def queue(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The settings that name the queue."""
    if request.config.getoption("--shape") == "nats":
        with NatsServer() as server:
            yield by_nats(server.url)
    else:
        yield BY_POSTGRES


@pytest.fixture(scope="session")
async def server(open_server) -> AsyncIterator[LiveServer]:
    async with open_server() as live:
        yield live


@pytest.fixture(scope="session", params=["granian", "uvicorn"])
async def each_server(request: pytest.FixtureRequest, open_server) -> AsyncIterator[LiveServer]:
    async with open_server(request.param) as live:
        yield live
