"""``kill -9`` at any moment of many streams' lives: every message ends once, and nobody was told a lie.

A ledger lives through a chain of kills: whoever was cut off by one goes on with the server after it, and once all of
them have their answers the next crowd begins. Some servers are killed again while they recover, or before that.

More of them: ``./faults --only kills_lose``.
"""

import asyncio
import random

import pytest

from tests.faults.clients import SECONDS, Place
from tests.faults.crowd import Crowd
from tests.faults.findings import Findings
from tests.faults.servers import MortalServer, check_read_models
from tests.support.process import run_json

pytestmark = pytest.mark.faults

STREAMS = 20


async def any_moment(crowd: Crowd, chance: random.Random) -> None:
    """Of a crowd's life: one in five before or just after its first text, one in five about the end of its answers."""
    beginning, middle, end = (0.0, 0.2), (0.0, SECONDS), (0.9 * SECONDS, 1.1 * SECONDS)
    span = chance.choice([beginning, middle, middle, middle, end])
    if span is not beginning:
        await crowd.first_text()
    await asyncio.sleep(chance.uniform(*span))


async def kill_and_recover(server: MortalServer, chance: random.Random) -> None:
    """Kill; every fifth time once more while the next one starts, and every fifth time while it recovers."""
    await server.kill()
    again = chance.randrange(5)
    if again == 0:
        await server.die_early(chance.uniform(0, SECONDS))
    await server.start()
    if again == 1:
        await asyncio.sleep(chance.uniform(0, SECONDS))
        await server.kill()
        await server.start()


@pytest.mark.timeout(900)
async def test_kills_lose_double_and_splice_nothing(data_folder, seeds, findings: Findings):
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    async with Place(created["api_key"]) as place, MortalServer(data_folder, place) as server:
        for seed in seeds:
            await one_kill(server, place, seed, findings)
        await server.kill()
    check_read_models(data_folder)


async def one_kill(server: MortalServer, place: Place, seed: int, findings: Findings) -> None:
    chance = random.Random(seed)
    async with findings.crowd("kill -9", seed, place, STREAMS) as crowd:
        await any_moment(crowd, chance)
        await kill_and_recover(server, chance)
        await crowd.end()
        await findings.check(crowd, since=server.ready_at)
