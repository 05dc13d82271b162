"""One server for all tests of this folder on each database, and one of each kind for those of the streams."""

from collections.abc import AsyncIterator
from functools import partial

import pytest

from tests.support.databases import NewLedger, settings_of
from tests.support.server import LiveServer, live_server


@pytest.fixture
def serve(tmp_path, database_url):
    """Serves the ledger of this test while inside, under any further settings."""
    return partial(live_server, tmp_path / "data", **settings_of(database_url))


@pytest.fixture(scope="session")
async def server(new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveServer]:
    with new_ledger() as url:
        async with live_server(tmp_path_factory.mktemp("server") / "data", **settings_of(url)) as live:
            yield live


@pytest.fixture(scope="session", params=["granian", "uvicorn"])
async def each_server(
    request: pytest.FixtureRequest, new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LiveServer]:
    with new_ledger() as url:
        folder = tmp_path_factory.mktemp(request.param) / "data"
        async with live_server(folder, kind=request.param, **settings_of(url)) as live:
            yield live
