"""The read models of ``--rebuilt`` events are made anew while people talk; and servers are killed on the way."""

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatledger.adapters.persistence.read_models import leftovers
from chatledger.settings import Settings
from tests.audit.crowds import House, talking
from tests.support.databases import change_ledger, configure, connection_to, ledger_of, settings_of
from tests.support.process import ServerProcess, run_command

pytestmark = [pytest.mark.audit, pytest.mark.faults]

PEOPLE = 20
REBUILD = "/v1/admin/rebuild"
A_WRONG_ROW = "UPDATE messages SET state = 'errored' WHERE position = (SELECT min(position) FROM messages)"
STATES = ("replaying", "comparing", "switching", "clearing")
SHORT = 1_000
"""Events of a ledger whose server is killed."""
LONGEST = 900.0
"""Seconds for a rebuild."""


@pytest.fixture
def data_folder(tmp_path: Path, database_url: str | None) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    configure(folder, database_url)
    return folder


@pytest.fixture
def house(data_folder: Path, database_url: str | None) -> House:
    return House(Settings(data_dir=data_folder, **settings_of(database_url)))


def operator(server: ServerProcess, house: House) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {house.token}"}, timeout=60)


async def rebuilt(client: httpx.AsyncClient, up_to: str = "completed") -> dict[str, Any]:
    """Begin, and look until it has come to this state, or has ended."""
    begun = await client.post(REBUILD)
    assert begun.status_code == 202, begun.text
    status = begun.json()
    async with asyncio.timeout(LONGEST):
        while status["state"] != up_to and status["ended_at"] is None:
            await asyncio.sleep(0.01)
            status = (await client.get(REBUILD)).json()
    return status


def require_right(data_folder: Path) -> None:
    """The read models are what the ledger says."""
    checked = run_command(data_folder, "rebuild", "--check", within=LONGEST)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def nothing_is_left_behind(data_folder: Path) -> bool:
    with connection_to(ledger_of(data_folder)) as connection:
        return not leftovers(connection)


async def test_people_go_on_talking_and_reading_meanwhile(
    data_folder: Path, house: House, request: pytest.FixtureRequest
) -> None:
    events = request.config.getoption("--rebuilt")
    await house.fill(events)
    change_ledger(data_folder, A_WRONG_ROW)
    with ServerProcess(data_folder) as server:
        async with talking(server.url, house.key, PEOPLE) as people, operator(server, house) as client:
            before = sum(person.requests for person in people)
            status = await rebuilt(client)
            assert sum(person.requests for person in people) > before
        report = status["report"]
        assert status["state"] == "completed", status["error"]
        assert report["events"] >= 0.8 * events
        assert [table["table"] for table in report["tables"] if table["digest"] != table["live_digest"]] == ["messages"]
        assert report["differences"] == 1
        print({name: report[name] for name in ("events", "seconds", "seconds_under_lock")})
    assert " ERROR " not in server.log.read_text()
    require_right(data_folder)
    assert nothing_is_left_behind(data_folder)


async def test_a_server_that_is_killed_over_it_starts_again_with_what_was_there(
    data_folder: Path, house: House, request: pytest.FixtureRequest
) -> None:
    first = request.config.getoption("--first-seed")
    choose = random.Random(first)
    await house.fill(SHORT)
    for number in range(first, first + max(1, request.config.getoption("--kills") // 3)):
        with ServerProcess(data_folder) as server:
            async with operator(server, house) as client:
                await rebuilt(client, STATES[number % len(STATES)])
                await asyncio.sleep(choose.uniform(0, 0.1))
            server.kill()
        require_right(data_folder)
    with ServerProcess(data_folder) as server:
        async with talking(server.url, house.key, 1), operator(server, house) as client:
            status = await rebuilt(client)
        assert status["report"]["differences"] == 0
    assert nothing_is_left_behind(data_folder)
