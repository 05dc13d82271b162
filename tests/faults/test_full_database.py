"""PostgreSQL's own disk that fills up to its last byte in the middle of many streams, and has room again.

More of it: ``./faults --only full_database``.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
import pytest

from chatledger.adapters.persistence.errors import storage_errors
from chatledger.application.ports.storage import StorageUnavailableError
from tests.faults.checking import messages_of
from tests.faults.clients import Place
from tests.faults.findings import Findings
from tests.faults.servers import check_read_models, require_no_errors
from tests.support.databases import configure
from tests.support.postgres import PostgresServer
from tests.support.process import ServerProcess, run_json
from tests.support.server import chat_body, until
from tests.support.small_disk import DatabaseDisk, Disk, LimitedDatabase, NoDiskError, disk_of_database

pytestmark = [pytest.mark.faults, pytest.mark.postgres]

STREAMS = 8
LOOKS = 3.0
"""Seconds in which the writer looks several times whether there is room again."""


@pytest.fixture
def server_on_disk(new_postgres: Callable[..., PostgresServer]) -> Iterator[PostgresServer]:
    with new_postgres(fsync=True, settings={"max_wal_size": "32MB", "min_wal_size": "32MB"}) as server:
        yield server


@pytest.fixture(params=["full disk", "failing writes"])
def disk(server_on_disk: PostgresServer, request: pytest.FixtureRequest) -> Iterator[Disk]:
    if request.param == "failing writes":
        yield LimitedDatabase(server_on_disk)
        return
    try:
        with disk_of_database(server_on_disk) as disk:
            yield disk
    except NoDiskError as error:
        pytest.skip(str(error))


@pytest.fixture
def data_folder(tmp_path: Path, server_on_disk: PostgresServer, disk: Disk) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    configure(folder, server_on_disk.fresh_database(), durability="full")
    return folder


@pytest.fixture
async def place(data_folder: Path) -> AsyncIterator[Place]:
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    async with Place(created["api_key"]) as place:
        yield place


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Sequence[int]:
    """Seeds: one for each ten kills, two at least."""
    kills, first = request.config.getoption("--kills"), request.config.getoption("--first-seed")
    return range(first, first + max(2, kills // 10))


@pytest.mark.timeout(900)
async def test_a_full_disk_of_the_database_loses_nothing(
    server_on_disk: PostgresServer, disk: Disk, data_folder: Path, place: Place, rounds, findings: Findings
) -> None:
    fault = "a full disk of the database" if isinstance(disk, DatabaseDisk) else "failing writes of the database"
    with ServerProcess(data_folder) as server:
        place.open(server.url)
        for seed in rounds:
            chance = random.Random(seed)
            dies = seed % 2 == 0 or isinstance(disk, LimitedDatabase)
            async with findings.crowd(fault, seed, place, STREAMS) as crowd:
                await crowd.first_text()
                await asyncio.sleep(chance.uniform(0, 0.5))
                disk.fill()
                if dies:
                    await asyncio.to_thread(ask_for_log, server_on_disk)
                await crowd.hung_up()
                assert crowd.is_listening(), "the streams were over before"
                assert not any(sender.is_ended for sender in crowd.senders), "an end that is not on the ledger"
                written = log_position(server_on_disk) if not dies else None
                await refuses_work_for_now(place)
                if not dies:
                    await asyncio.sleep(LOOKS)
                    await refuses_work_for_now(place)
                    assert await messages_of(place, crowd.senders[0].user), "reading needs no room"
                    assert log_position(server_on_disk) == written, "looking for room takes room"
                disk.make_room()
                if dies:
                    server_on_disk.kill()
                    server_on_disk.start()
                await crowd.end()
                await findings.check(crowd)
            await until(partial(is_ready, place))
        answer = await place.post("/v1/chat-messages", json=chat_body("/script text=yes"))
        assert answer.json()["answer"] == "yes"
        assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()
    require_no_errors(server)
    check_read_models(data_folder)


def ask_for_log(server: PostgresServer) -> None:
    """Let it need another file for its log, for which there is no room: it dies of that.

    Whether its last words are heard or only the end of the connection, it is the store that is in trouble.
    """
    with pytest.raises(StorageUnavailableError):
        write_until_it_dies(server)


def write_until_it_dies(server: PostgresServer) -> None:
    with storage_errors(), closing(psycopg.connect(server.dsn, autocommit=True)) as connection:
        while True:
            connection.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 100000)), pg_switch_wal()")


def log_position(server: PostgresServer) -> str:
    with psycopg.connect(server.dsn) as connection:
        (position,) = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    return position


async def is_ready(place: Place) -> bool:
    return (await place.get("/health/ready")).status_code == 200


async def refuses_work_for_now(place: Place) -> None:
    for mode in ("blocking", "streaming", "async"):
        body = chat_body("too early", "somebody new", response_mode=mode)
        refused = await place.post("/v1/chat-messages", json=body)
        assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
        assert refused.headers["retry-after"]
    assert (await place.get("/health/ready")).status_code == 503
    assert (await place.get("/health/live")).status_code == 200
