"""``SIGSTOP``: servers that stand still for longer than their leases, and go on as if nothing had been.

More of them: ``./faults --only zombie``.
"""

import asyncio
import random
import shutil
import signal
from pathlib import Path

import psycopg
import pytest

from tests.faults.checking import ended, events_of
from tests.faults.clients import SECONDS, Place
from tests.faults.findings import Findings
from tests.faults.servers import check_read_models, require_no_errors
from tests.support.databases import ON_POSTGRES, configure
from tests.support.process import ServerProcess, run_json

pytestmark = pytest.mark.faults

STREAMS = 20
LEASE = 1.0
QUICK = {"CHATLEDGER_LEASE": str(LEASE), "CHATLEDGER_HEARTBEAT": "0.2"}

CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture
def api_key(data_folder):
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    return created["api_key"]


@pytest.fixture
def rounds(request):
    """Seeds: one for each ten kills."""
    kills, first = request.config.getoption("--kills"), request.config.getoption("--first-seed")
    return range(first, first + max(1, kills // 10))


@pytest.mark.timeout(600)
async def test_a_server_that_stood_still_goes_on(data_folder, api_key, rounds, findings: Findings):
    async with Place(api_key) as place:
        with ServerProcess(data_folder, env=QUICK) as server:
            place.open(server.url)
            for seed in rounds:
                chance = random.Random(seed)
                async with findings.crowd("SIGSTOP beyond the lease", seed, place, STREAMS) as crowd:
                    await crowd.first_text()
                    await asyncio.sleep(chance.uniform(0, SECONDS))
                    server.signal(signal.SIGSTOP)
                    await asyncio.sleep(1.5 * LEASE)
                    server.signal(signal.SIGCONT)
                    await crowd.end()
                    tally = await findings.check(crowd)
                assert {event["data"].get("attempt", 1) for each in tally.ledger.values() for event in each} == {1}
            assert server.stop() == 0
            require_no_errors(server)
    check_read_models(data_folder)


@ON_POSTGRES
@pytest.mark.timeout(600)
async def test_a_server_that_was_given_up_writes_nothing_more(
    data_folder, database_url, api_key, rounds, findings: Findings
):
    """Its connections are cut while it stands still, as a database or a firewall does; another takes over."""
    async with Place(api_key) as place:
        with ServerProcess(data_folder, env=QUICK) as zombie:
            place.open(zombie.url)
            for seed in rounds:
                chance = random.Random(seed)
                async with findings.crowd("SIGSTOP and a take-over", seed, place, STREAMS) as crowd:
                    await crowd.first_text()
                    await asyncio.sleep(chance.uniform(0, 0.8 * SECONDS))
                    zombie.signal(signal.SIGSTOP)
                    await asyncio.sleep(1.5 * LEASE)
                    await asyncio.to_thread(cut, database_url)
                    with ServerProcess(other_folder(data_folder, database_url, seed)) as other:
                        place.open(other.url)
                        messages = [sender.message_id for sender in crowd.senders if sender.message_id]
                        for message_id in messages:
                            await ended(place, message_id)
                        before = [await events_of(place, message_id) for message_id in messages]
                        zombie.signal(signal.SIGCONT)
                        await crowd.end()
                        await findings.check(crowd)
                        await is_refused(zombie, api_key)
                        assert [await events_of(place, message_id) for message_id in messages] == before
                        assert max(event["data"].get("attempt", 1) for each in before for event in each) == 2
                        assert other.stop() == 0
                        require_no_errors(other)
                place.open(zombie.url)
                async with findings.crowd("after the take-over", seed, place, 2) as crowd:
                    await crowd.end()
                    await findings.check(crowd)
            assert zombie.stop() == 0
            require_no_errors(zombie)
    check_read_models(data_folder)


def cut(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(CUT)


def other_folder(data_folder: Path, url: str, seed: int) -> Path:
    """Of another machine, with the same keys."""
    folder = data_folder.parent / f"other-{seed}" / "data"
    folder.mkdir(mode=0o700, parents=True)
    for path in (*data_folder.glob("keys.db*"), data_folder / "master.key"):
        shutil.copy2(path, folder)
    configure(folder, url)
    return folder


async def is_refused(server: ServerProcess, api_key: str) -> None:
    async with Place(api_key) as place:
        place.open(server.url)
        refused = await place.post("/v1/chat-messages", json={"query": "/script text=no", "user": "x", "inputs": {}})
        assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable"), refused.text
