"""A disk that fills up to its last byte in the middle of many streams, and has room again.

More of it: ``./faults --only full_disk``.
"""

import asyncio
import json
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.faults.checking import messages_of
from tests.faults.clients import SECONDS, Place
from tests.faults.findings import Findings
from tests.faults.servers import require_no_errors
from tests.support.databases import ON_SQLITE
from tests.support.process import ServerProcess, run_command
from tests.support.server import chat_body, until
from tests.support.small_disk import Disk, LimitedFiles, SmallDisk

pytestmark = [pytest.mark.faults, ON_SQLITE]

STREAMS = 4
MEGABYTE = 1024 * 1024
PAGE = 4096


@pytest.fixture(params=["full disk", "failing writes"])
def disk(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    """Of the second kind it is an error to write, however much room there is."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    if request.param == "failing writes":
        yield LimitedFiles(folder)
        return
    try:
        small = SmallDisk(folder, 24 * MEGABYTE)
    except OSError as error:
        pytest.skip(str(error))
    with closing(small):
        yield small


@pytest.fixture
def data_folder(disk: Disk) -> Path:
    return disk.path / "data"


@pytest.fixture
async def place(disk: Disk, data_folder: Path) -> AsyncIterator[Place]:
    options = ("--mode", "chat", "--name", "x", "--generator", "scripted", "--json")
    made = on(disk, data_folder, "apps", "create", *options)
    assert made.returncode == 0, made.stderr
    async with Place(json.loads(made.stdout)["api_key"]) as place:
        yield place


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Sequence[int]:
    """Seeds: one for each ten kills, two at least."""
    kills, first = request.config.getoption("--kills"), request.config.getoption("--first-seed")
    return range(first, first + max(2, kills // 10))


def on(disk: Disk, data_folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_command(data_folder, *arguments, cwd=disk.path.parent, launcher=disk.launcher)


def serving(disk: Disk, data_folder: Path, log: Path | None = None) -> ServerProcess:
    server = ServerProcess(data_folder, cwd=disk.path.parent, launcher=disk.launcher)
    server.log = log or disk.path.parent / "server.log"
    return server


@pytest.mark.timeout(900)
async def test_a_full_disk_loses_nothing_and_needs_no_restart(
    disk: Disk, data_folder: Path, place: Place, rounds: Sequence[int], findings: Findings
) -> None:
    fault = "a full disk" if isinstance(disk, SmallDisk) else "failing writes"
    # The log is on the disk as well, and has to do without room.
    with serving(disk, data_folder, disk.here / "server.log") as server:
        place.open(server.url)
        for seed in rounds:
            chance = random.Random(seed)
            async with findings.crowd(fault, seed, place, STREAMS) as crowd:
                await crowd.first_text()
                await asyncio.sleep(chance.uniform(0, 0.8 * SECONDS))
                disk.fill(server.pid)
                await crowd.hung_up()
                assert crowd.is_listening(), "the streams were over before"
                assert not any(sender.is_ended for sender in crowd.senders), "an end that is not on the ledger"
                await refuses_work_for_now(place)
                assert await messages_of(place, crowd.senders[0].user), "reading needs no room"
                disk.make_room(server.pid)
                await crowd.end()
                await findings.check(crowd)
            await until(partial(is_ready, place))
        answer = await place.post("/v1/chat-messages", json=chat_body("/script text=yes"))
        assert answer.json()["answer"] == "yes"
        assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()
    require_no_errors(server)
    checked = on(disk, data_folder, "rebuild", "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


async def is_ready(place: Place) -> bool:
    return (await place.get("/health/ready")).status_code == 200


async def refuses_work_for_now(place: Place) -> None:
    refused = [
        await place.post("/v1/chat-messages", json=chat_body("too early", "somebody new", response_mode=mode))
        for mode in ("blocking", "streaming", "async")
    ]
    upload = {"file": ("notes.txt", b"x" * MEGABYTE, "text/plain")}
    refused.append(await place.post("/v1/files/upload", files=upload, data={"user": "somebody new"}))
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        assert answer.headers["retry-after"]
    assert (await place.get("/health/ready")).status_code == 503
    assert (await place.get("/health/live")).status_code == 200


def test_a_start_on_a_full_disk_says_so_and_the_next_one_completes_it(disk: Disk, data_folder: Path, rounds) -> None:
    for seed in rounds:
        launcher: Sequence[str] = ("prlimit", "--fsize=0")
        if isinstance(disk, SmallDisk):
            launcher = disk.launcher
            disk.fill()
            disk.give(random.Random(seed).choice(range(0, 64 * PAGE, PAGE)))
        failed = run_command(data_folder, "serve", "--port", "0", cwd=disk.path.parent, launcher=launcher)
        assert failed.returncode == 1
        assert len(failed.stderr.splitlines()) == 1, failed.stderr
        assert failed.stderr.startswith("chatledger: the store is in trouble: ")
        disk.make_room()
        assert on(disk, data_folder, "migrate").returncode == 0
        shutil.rmtree(disk.here / "data")
