"""``kill -9`` of the database in the middle of many streams, with the server and without.

More of them: ``./test tests/faults --kills 20``.
"""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.faults.clients import Crowd
from tests.support.databases import configure
from tests.support.postgres import PostgresServer
from tests.support.process import STOP_WITHIN, ServerProcess, run_command, run_json
from tests.support.server import until

pytestmark = [pytest.mark.faults, pytest.mark.postgres]

STREAMS = 20


@pytest.fixture
def data_folder(tmp_path, mortal_database):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    url = mortal_database.fresh_database()
    configure(folder, url, durability="full")
    yield folder
    mortal_database.drop_database(url)


@pytest.fixture
def key(data_folder):
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    return {"Authorization": f"Bearer {created['api_key']}"}


@contextmanager
def dead(database: PostgresServer) -> Iterator[None]:
    """Kill it; start it again at the end."""
    database.kill()
    try:
        yield
    finally:
        database.start()


async def test_a_server_outlives_its_database(mortal_database, data_folder, key, seed):
    chance, is_soon_back = random.Random(seed), seed % 3 == 0
    crowd = Crowd(STREAMS)
    with ServerProcess(data_folder) as server:
        async with httpx.AsyncClient(base_url=server.url, headers=key, timeout=30) as client:
            await crowd.begin(client)
            await asyncio.sleep(chance.uniform(0, 1.3))
            with dead(mortal_database):
                assert crowd.is_listening()
                if not is_soon_back:
                    await crowd.hang_up()
                    assert crowd.is_listening(), "the streams were over before"
                    await refuses_work_for_now(client)
                    await until(lambda: says(server, f"in trouble: postgresql://127.0.0.1:{mortal_database.port}/"))
            await crowd.hang_up()
            await crowd.resume(client)
            await crowd.check(client)
            answer = await client.post(
                "/v1/chat-messages", json={"query": "/script text=yes", "user": "x", "inputs": {}}
            )
            assert answer.json()["answer"] == "yes"
            assert (await client.get("/health/ready")).status_code == 200
        assert server.stop() == 0
        log = server.log.read_text()
        assert " ERROR " not in log
        assert " CRITICAL " not in log
    check_read_models(data_folder)


async def test_server_and_database_die_together(mortal_database, data_folder, key, seed):
    chance = random.Random(seed)
    crowd = Crowd(STREAMS)
    server = ServerProcess(data_folder).start()
    async with httpx.AsyncClient(base_url=server.url, headers=key, timeout=30) as client:
        await crowd.begin(client)
        await asyncio.sleep(chance.uniform(0, 1.3))
        if seed % 2:
            server.kill()
        with dead(mortal_database):
            server.kill()
        await crowd.hang_up()
        assert crowd.is_listening()
    await all_is_made_good(data_folder, key, crowd)


async def test_a_server_without_its_database_can_be_stopped(mortal_database, data_folder, key):
    crowd = Crowd(STREAMS)
    with ServerProcess(data_folder) as server:
        async with httpx.AsyncClient(base_url=server.url, headers=key, timeout=30) as client:
            await crowd.begin(client)
            with dead(mortal_database):
                assert server.stop(within=2 * STOP_WITHIN) == 0, "it waits for what came of a commit, but not for ever"
            await crowd.hang_up()
    await all_is_made_good(data_folder, key, crowd)


async def says(server: ServerProcess, reason: str) -> bool:
    return reason in server.log.read_text()


async def refuses_work_for_now(client: httpx.AsyncClient) -> None:
    for user in ("user 0", "somebody new"):
        for mode in ("blocking", "streaming", "async"):
            body = {"query": "too early", "inputs": {}, "user": user, "response_mode": mode}
            refused = await client.post("/v1/chat-messages", json=body)
            assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
            assert refused.headers["retry-after"]
    for path in ("/v1/conversations?user=ada", "/health/ready"):
        assert (await client.get(path)).status_code == 503
    assert (await client.get("/health/live")).status_code == 200


async def all_is_made_good(data_folder, key, crowd: Crowd) -> None:
    """By the next server."""
    with ServerProcess(data_folder) as server:
        async with httpx.AsyncClient(base_url=server.url, headers=key, timeout=30) as client:
            await crowd.resume(client)
            await crowd.check(client)
    check_read_models(data_folder)


def check_read_models(data_folder) -> None:
    result = run_command(data_folder, "rebuild", "--check")
    assert result.returncode == 0, result.stdout + result.stderr
