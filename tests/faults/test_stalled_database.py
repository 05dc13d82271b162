"""A database that stands still for longer than the leases and then goes on, as a machine that swaps or migrates does.

More of it: ``./faults --only stalled_database``.
"""

import asyncio
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from tests.faults.checking import ended, events_of
from tests.faults.clients import SECONDS, Place
from tests.faults.findings import Findings
from tests.faults.servers import check_read_models, require_no_errors
from tests.support.databases import configure
from tests.support.fake_openai import FakeOpenAI, Received, Refusal, Stream, answer
from tests.support.postgres import PostgresServer
from tests.support.process import ServerProcess, run_json
from tests.support.server import chat_body, until

pytestmark = [pytest.mark.faults, pytest.mark.postgres]

STREAMS = 8
LEASE = 1.0
QUICK = {"CHATLEDGER_LEASE": str(LEASE), "CHATLEDGER_HEARTBEAT": "0.2"}
WAIT = 2
"""Seconds after which the provider takes the refused question; they end while the database stands still."""


@pytest.fixture
def stalling(new_postgres: Callable[..., PostgresServer]) -> Iterator[PostgresServer]:
    with new_postgres() as server:
        yield server


@pytest.fixture
def data_folder(tmp_path, stalling):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    configure(folder, stalling.fresh_database())
    return folder


@pytest.fixture
def rounds(request):
    """Seeds: one for each ten kills."""
    kills, first = request.config.getoption("--kills"), request.config.getoption("--first-seed")
    return range(first, first + max(1, kills // 10))


@contextmanager
def standing_still(database: PostgresServer) -> Iterator[None]:
    """No process of the database does anything; new connections are taken by the system and answered by nobody."""
    processes = [database.pid, *database.children()]
    try:
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in reversed(processes):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(600)
async def test_a_database_that_stood_still_has_lost_and_doubled_nothing(
    stalling: PostgresServer, data_folder, rounds, findings: Findings
) -> None:
    asked: list[str] = []

    def respond(request: Received) -> Refusal | Stream:
        asked.append(request.body["messages"][-1]["content"])
        if asked.count(asked[-1]) == 1:
            return Refusal(429, {"error": {"message": "slowly"}}, {"Retry-After": str(WAIT)})
        return answer("So ", "it ", "is.")

    async with FakeOpenAI() as provider:
        provider.always("/chat/completions", respond)
        generator = ("--generator", "openai_compatible", "--set", "model=m", "--set", f"base_url={provider.base_url}")
        scripted, refused = (
            run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", *options)["api_key"]
            for options in (("--generator", "scripted"), generator)
        )
        with ServerProcess(data_folder, env=QUICK) as server:
            async with Place(scripted) as place, Place(refused) as patient:
                place.open(server.url)
                patient.open(server.url)
                for seed in rounds:
                    chance = random.Random(seed)
                    waiting = chat_body(f"question {seed}", response_mode="async", auto_generate_name=False)
                    sent = (await patient.post("/v1/chat-messages", json=waiting)).json()
                    await until(partial(is_requeued, patient, sent["message_id"]))
                    async with findings.crowd("a database that stands still", seed, place, STREAMS) as crowd:
                        await crowd.first_text()
                        await asyncio.sleep(chance.uniform(0, 0.8 * SECONDS))
                        assert crowd.is_listening(), "the streams were over before"
                        with standing_still(stalling):
                            late = asyncio.create_task(
                                place.post("/v1/chat-messages", json=chat_body("/script text=late"))
                            )
                            await asyncio.sleep(max(WAIT, (1.5 + chance.random()) * LEASE))
                        await crowd.end()
                        assert await ended(patient, sent["message_id"]) == ["MessageCompleted"]
                        assert (await late).json()["answer"] == "late"
                        await findings.check(crowd)
                    message = (await patient.get(f"/v1/messages/{sent['message_id']}")).json()
                    assert message["answer"] == "So it is."
                    assert asked.count(f"question {seed}") == 2
            assert server.stop() == 0
            require_no_errors(server)
    check_read_models(data_folder)


async def is_requeued(client: Place, message_id: str) -> bool:
    return any(event["type"] == "GenerationRequeued" for event in await events_of(client, message_id))
