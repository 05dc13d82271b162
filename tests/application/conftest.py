from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from tests.application import chat as chats
from tests.support.databases import settings_of
from tests.support.master_keys import master_key


@pytest.fixture
def open_chat(tmp_path, database_url):
    """Opens a chat on the ledger of this test, with any further settings, as often as wanted, one after the other."""
    return partial(chats.open_chat, tmp_path, **settings_of(database_url))


@pytest.fixture
async def chat(open_chat):
    async with open_chat() as opened:
        yield opened


@pytest.fixture
def open_host(open_chat):
    """A chat whose host brings projections and handlers, without a worker: the tests say what is committed."""
    return partial(open_chat, with_worker=False, durability="relaxed", subscription_attempts=2)


@pytest.fixture
def quick_leases(open_chat):
    """A chat whose dead workers are noticed within half a second."""
    return partial(open_chat, lease=0.5, heartbeat=0.1)


@pytest.fixture
def open_node(tmp_path, database_url) -> Callable:
    """Opens a node; each has a data folder of its own, and all have the same master key."""

    @asynccontextmanager
    async def open_one(name: str, *, with_worker: bool = True, **more) -> AsyncIterator[chats.Chat]:
        folder = tmp_path / name
        if not folder.exists():
            (folder / "data").mkdir(parents=True, mode=0o700)
            master_key(folder / "data")
        shared = {"queue": "postgres", "files_url": f"file://{tmp_path / 'files'}", "worker_name": name}
        settings = settings_of(database_url) | shared | {"lease": 2.0, "heartbeat": 0.1}
        async with chats.open_chat(folder, with_worker=with_worker, **(settings | more)) as chat:
            yield chat

    return open_one
