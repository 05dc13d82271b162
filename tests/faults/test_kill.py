"""``kill -9`` in the middle of many streams: every message ends once, and nobody was told a lie.

More of them: ``./test tests/faults --kills 20``.
"""

import asyncio
import random

import httpx
import pytest

from tests.faults.clients import Crowd
from tests.support.process import ServerProcess, run_command, run_json

pytestmark = pytest.mark.faults

STREAMS = 20


async def test_a_kill_loses_doubles_and_splices_nothing(data_folder, seed):
    chance = random.Random(seed)
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    key = {"Authorization": f"Bearer {created['api_key']}"}
    crowd = Crowd(STREAMS)

    with ServerProcess(data_folder) as server:
        async with httpx.AsyncClient(base_url=server.url, headers=key, timeout=30) as client:
            await crowd.begin(client)
            await asyncio.sleep(chance.uniform(0, 1.3))
            server.kill()
            await crowd.hang_up()
            assert crowd.is_listening()

    with ServerProcess(data_folder) as server:
        async with httpx.AsyncClient(base_url=server.url, headers=key, timeout=30) as client:
            await crowd.resume(client)
            await crowd.check(client)
    result = run_command(data_folder, "rebuild", "--check")
    assert result.returncode == 0, result.stdout + result.stderr
