"""A chatledger that tells receivers on the loopback, without waiting long for those that fail."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from chatledger import Chatledger, Settings
from tests.support.databases import settings_of
from tests.support.receiver import Receiver

QUICK = {
    "webhook_allowed_networks": (ip_network("127.0.0.0/8"),),
    "webhook_timeout": 5,
    "webhook_attempts": 3,
    "first_webhook_delay": 0.02,
    "longest_webhook_delay": 0.1,
    "shutdown_grace": 1,
}

Open = Callable[..., AbstractAsyncContextManager[Chatledger]]


@pytest.fixture
def open_ledger(tmp_path: Path, database_url: str | None) -> Open:
    """Opens the ledger of this test, as often as wanted, under any further settings."""

    @asynccontextmanager
    async def opening(**more: Any) -> AsyncIterator[Chatledger]:
        settings = Settings(data_dir=tmp_path / "data", **settings_of(database_url), **(QUICK | more))
        async with Chatledger.open(settings) as ledger:
            yield ledger

    return opening


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as opened:
        yield opened
