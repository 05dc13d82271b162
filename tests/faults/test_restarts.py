"""SIGTERM in the middle of many streams, twice in a row: what does not end in the grace is handed over.

More of them: ``./faults --only restarts``.
"""

import asyncio
import random

import pytest

from tests.faults.clients import SECONDS, Place
from tests.faults.findings import Findings
from tests.faults.servers import MortalServer, check_read_models
from tests.support.process import run_json

pytestmark = pytest.mark.faults

STREAMS = 20
GRACES = (0.0, 0.3 * SECONDS, 2 * SECONDS)
"""Seconds: none, too few for most answers, enough for all."""


@pytest.fixture
def rounds(request):
    """Seeds: one for each ten kills."""
    kills, first = request.config.getoption("--kills"), request.config.getoption("--first-seed")
    return range(first, first + max(1, kills // 10))


@pytest.mark.timeout(900)
async def test_restarts_lose_double_and_splice_nothing(data_folder, rounds, findings: Findings):
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    async with Place(created["api_key"]) as place, MortalServer(data_folder, place) as server:
        for seed in rounds:
            chance = random.Random(seed)
            async with findings.crowd("SIGTERM twice", seed, place, STREAMS) as crowd:
                await crowd.first_text()
                for _ in range(2):
                    await asyncio.sleep(chance.uniform(0, 0.5 * SECONDS))
                    await server.stop(chance.choice(GRACES))
                    await server.start()
                await crowd.end()
                await findings.check(crowd, since=server.ready_at)
    check_read_models(data_folder)
