"""One server for all tests of this folder, and one of each kind for those of the streams."""

from collections.abc import AsyncIterator

import pytest

from tests.support.server import LiveServer, live_server


@pytest.fixture(scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveServer]:
    async with live_server(tmp_path_factory.mktemp("server") / "data") as live:
        yield live


@pytest.fixture(scope="session", params=["granian", "uvicorn"])
async def each_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LiveServer]:
    async with live_server(tmp_path_factory.mktemp(request.param) / "data", kind=request.param) as live:
        yield live
