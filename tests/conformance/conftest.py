"""One chatledger behind a real server and one in this process, each on a database of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.conformance.in_process import embedded_service
from tests.conformance.ledger_log import log_of
from tests.conformance.over_http import http_service
from tests.conformance.service import Service

SETTINGS = {"first_retry_delay": 0.01, "longest_retry_delay": 0.02}

Fresh = Callable[[str], dict[str, Any]]


class Surface:
    """A service, and what it has written since it was last looked at."""

    def __init__(self, service: Service, settings: dict[str, Any]) -> None:
        self.service = service
        self._settings = settings
        self._seen = 0

    async def written(self) -> list[str]:
        lines, self._seen = await log_of(self._settings, self._seen)
        return lines


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """Makes the settings of a chatledger on an empty database."""
    folder = tmp_path_factory.mktemp(request.param)

    def fresh(name: str) -> dict[str, Any]:
        if request.param == "sqlite":
            url = f"sqlite:///{folder}/{name}/ledger.db"
        else:
            url = request.getfixturevalue("postgres_server").fresh_database()
        return SETTINGS | {"data_dir": folder / name, "database_url": url, "durability": "relaxed"}

    return fresh


@pytest.fixture(scope="module")
async def surfaces(database: Fresh) -> AsyncIterator[tuple[Surface, Surface]]:
    over_http, in_process = database("over-http"), database("in-process")
    async with AsyncExitStack() as stack:
        yield (
            Surface(await stack.enter_async_context(http_service(over_http)), over_http),
            Surface(await stack.enter_async_context(embedded_service(in_process)), in_process),
        )
