"""``kill -9`` of the database in the middle of many streams, with the server and without.

More of them: ``./faults --only database_kill``.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from tests.faults.clients import Place
from tests.faults.findings import Findings
from tests.faults.servers import MortalServer, check_read_models, require_no_errors
from tests.support.databases import configure
from tests.support.postgres import PostgresServer
from tests.support.process import STOP_WITHIN, ServerProcess, run_json
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
async def place(data_folder) -> AsyncIterator[Place]:
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    async with Place(created["api_key"]) as place:
        yield place


@contextmanager
def dead(database: PostgresServer) -> Iterator[None]:
    """Kill it; start it again at the end."""
    database.kill()
    try:
        yield
    finally:
        database.start()


async def test_a_server_outlives_its_database(mortal_database, data_folder, place, seed, findings: Findings):
    chance, is_soon_back = random.Random(seed), seed % 3 == 0
    with ServerProcess(data_folder) as server:
        place.open(server.url)
        async with findings.crowd("kill -9 of the database", seed, place, STREAMS) as crowd:
            await crowd.first_text()
            await asyncio.sleep(chance.uniform(0, 1.3))
            with dead(mortal_database):
                assert crowd.is_listening()
                if not is_soon_back:
                    await crowd.hung_up()
                    assert crowd.is_listening(), "the streams were over before"
                    await refuses_work_for_now(place)
                    await until(lambda: says(server, f"in trouble: postgresql://127.0.0.1:{mortal_database.port}/"))
            await crowd.end()
            await findings.check(crowd)
        answer = await place.post("/v1/chat-messages", json={"query": "/script text=yes", "user": "x", "inputs": {}})
        assert answer.json()["answer"] == "yes"
        assert (await place.get("/health/ready")).status_code == 200
        assert server.stop() == 0
        require_no_errors(server)
    check_read_models(data_folder)


async def test_server_and_database_die_together(mortal_database, data_folder, place, seed, findings: Findings):
    chance = random.Random(seed)
    async with (
        MortalServer(data_folder, place) as server,
        findings.crowd("kill -9 of both", seed, place, STREAMS) as crowd,
    ):
        await crowd.first_text()
        await asyncio.sleep(chance.uniform(0, 1.3))
        if seed % 2:
            await server.kill()
        with dead(mortal_database):
            await server.kill()
        await server.start()
        await crowd.end()
        await findings.check(crowd, since=server.ready_at)
        await server.kill()
    check_read_models(data_folder)


async def test_a_server_without_its_database_can_be_stopped(mortal_database, data_folder, place, findings: Findings):
    with ServerProcess(data_folder) as server:
        place.open(server.url)
        async with findings.crowd("stop without the database", 0, place, STREAMS) as crowd:
            await crowd.first_text()
            with dead(mortal_database):
                assert server.stop(within=2 * STOP_WITHIN) == 0, "it waits for what came of a commit, but not for ever"
            place.close()
            with ServerProcess(data_folder) as next_server:
                place.open(next_server.url)
                await crowd.end()
                await findings.check(crowd)
    check_read_models(data_folder)


async def says(server: ServerProcess, reason: str) -> bool:
    return reason in server.log.read_text()


async def refuses_work_for_now(place: Place) -> None:
    for user in ("user 0", "somebody new"):
        for mode in ("blocking", "streaming", "async"):
            body = {"query": "too early", "inputs": {}, "user": user, "response_mode": mode}
            refused = await place.post("/v1/chat-messages", json=body)
            assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
            assert refused.headers["retry-after"]
    for path in ("/v1/conversations?user=ada", "/health/ready"):
        assert (await place.get(path)).status_code == 503
    assert (await place.get("/health/live")).status_code == 200
