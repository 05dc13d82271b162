from functools import partial

import pytest

from tests.application import chat as chats
from tests.support.databases import settings_of


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
