import pytest

from tests.application.chat import Chat, open_chat


@pytest.fixture
async def chat(tmp_path):
    async with open_chat(tmp_path) as opened:
        yield opened


@pytest.fixture
def open_host(tmp_path, database_url):
    """A chat whose host brings projections and handlers, without a worker: the tests say what is committed."""
    options = {"with_worker": False, "database_url": database_url, "durability": "relaxed", "subscription_attempts": 2}
    return lambda **more: open_chat(tmp_path, **options | more)


@pytest.fixture
def quick_leases(tmp_path):
    """A chat whose dead workers are noticed within half a second."""
    return lambda **more: open_chat(tmp_path, lease=0.5, heartbeat=0.1, **more)


__all__ = ["Chat"]
