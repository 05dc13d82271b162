"""``kill -9`` of nodes, of PostgreSQL and of NATS, one after the other, in the middle of many streams.

At its full length, with 200 streams, NATS away for 20 seconds, and over PostgreSQL alone too:
``./faults --only test_nodes``.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.faults.clients import PATIENCE, Place
from tests.faults.crowd import Crowd
from tests.faults.findings import Findings
from tests.faults.servers import require_no_errors
from tests.support.databases import connection_to
from tests.support.nats import NatsCluster, NatsServer
from tests.support.nodes import BY_POSTGRES, Nodes, by_nats
from tests.support.postgres import PostgresServer
from tests.support.process import ServerProcess, run_command, until

pytestmark = [pytest.mark.faults, pytest.mark.postgres]

MOST_BETWEEN = 0.5
"""Seconds from one kill to the next: what was killed last need not have recovered."""

LEASE = 2.0
UNFINISHED = "SELECT (SELECT count(*) FROM messages WHERE ended_position IS NULL) + (SELECT count(*) FROM leases)"

Kill = Callable[[], Awaitable[None]]


class Broker:
    """NATS, as far as there is any."""

    settings: Mapping[str, str] = BY_POSTGRES

    def kills(self, crowd: Crowd) -> list[Kill]:
        """What can be done to it."""
        return []

    async def recovered(self) -> None:
        """Until all of it is there."""


class Nats(Broker):
    """Three servers. Whatever is killed is started again."""

    def __init__(self, cluster: NatsCluster, outage: float) -> None:
        self.settings = by_nats(*cluster.urls)
        self._cluster = cluster
        self._outage = outage

    def kills(self, crowd: Crowd) -> list[Kill]:
        async def kill_all() -> None:
            await self._kill(*self._cluster.servers, seconds=self._outage, meanwhile=self._goes_on(crowd))

        return [self._kill_leader, kill_all]

    async def _kill_leader(self) -> None:
        await self._kill(self._cluster.named(await asyncio.to_thread(until, self._leader, PATIENCE, what="a leader")))

    def _leader(self) -> str | None:
        clusters = [(server._told("/jsz") or {}).get("meta_cluster") or {} for server in self._cluster.servers]
        return next((cluster["leader"] for cluster in clusters if cluster.get("leader")), None)

    async def _goes_on(self, crowd: Crowd) -> None:
        """Without NATS answers that have begun go on, and one that is asked for now is given."""
        seen = sum(client.received for client in crowd.clients)
        async with asyncio.timeout(PATIENCE):
            while sum(client.received for client in crowd.clients) == seen:  # noqa: ASYNC110 - many clients' state
                await asyncio.sleep(0.01)
            # Whoever meets a node that is just dead has asked nothing.
            while not (await crowd.ask("in-the-outage", seconds=0.2)).is_ended:  # noqa: ASYNC110 - it asks anew
                await asyncio.sleep(MOST_BETWEEN)

    async def _kill(self, *servers: NatsServer, seconds: float = 0, meanwhile: Awaitable[None] | None = None) -> None:
        for server in servers:
            server.kill()
        await asyncio.gather(asyncio.sleep(seconds), *([meanwhile] if meanwhile else []))
        for server in servers:
            server.launch()

    async def recovered(self) -> None:
        """Until all are there again, whoever was left dead."""
        await asyncio.to_thread(self._cluster.start)


@pytest.fixture
def broker(queue: str, request: pytest.FixtureRequest) -> Broker:
    if queue == "postgres":
        return Broker()
    return Nats(request.getfixturevalue("nats_cluster"), request.config.getoption("--outage"))


@pytest.fixture
def database_url(mortal_database: PostgresServer) -> Iterator[str]:
    url = mortal_database.fresh_database()
    yield url
    mortal_database.drop_database(url)


@pytest.mark.timeout(900)
async def test_whatever_is_killed_every_character_arrives_once(
    broker: Broker,
    mortal_database: PostgresServer,
    database_url: str,
    tmp_path: Path,
    findings: Findings,
    request: pytest.FixtureRequest,
) -> None:
    seed, streams = request.config.getoption("--first-seed"), request.config.getoption("--streams")
    chance, seconds = random.Random(seed), 5 + 2 * request.config.getoption("--outage")
    env = {"CHATLEDGER_DURABILITY": "full", "CHATLEDGER_LEASE": str(LEASE), "CHATLEDGER_HEARTBEAT": "0.5"}
    nodes = Nodes(tmp_path, database_url, broker.settings, workers=2, env=env)
    with nodes:
        async with Place(nodes.new_app()["api_key"]) as place, asyncio.TaskGroup() as restarts:

            def let_clients_know() -> None:
                place.open(*(node.url for node in nodes.apis))

            async def restart(node: ServerProcess) -> None:
                await until_started(node)
                let_clients_know()

            async def kill_one_of(group: Sequence[ServerProcess]) -> None:
                node = chance.choice(group)
                assert node.is_running, f"it has ended by itself: {node.log.read_text()}"
                node.kill()
                restarts.create_task(restart(node))

            async def kill_database() -> None:
                await asyncio.to_thread(mortal_database.kill)
                await asyncio.to_thread(mortal_database.start)

            let_clients_know()
            fault = f"kill -9 of nodes over {broker.settings['CHATLEDGER_QUEUE']}"
            async with findings.crowd(fault, seed, place, streams, seconds=seconds) as crowd:
                await crowd.first_text()
                kills: list[Kill] = [
                    partial(kill_one_of, nodes.workers),
                    partial(kill_one_of, nodes.apis),
                    kill_database,
                    *broker.kills(crowd),
                ]
                for kill in chance.sample(kills, len(kills)):
                    await asyncio.sleep(chance.uniform(0, MOST_BETWEEN))
                    assert crowd.is_waiting(), "the streams were over before"
                    await kill()
                await crowd.end(within=PATIENCE + 5 * seconds)
                await broker.recovered()
                await findings.check(crowd)
        with connection_to(database_url) as connection:
            assert connection.exec_driver_sql(UNFINISHED).scalar_one() == 0
    for node in nodes.all:
        require_no_errors(node)
    checked = run_command(nodes.all[0].data_folder, "rebuild", "--check", env=nodes.env)
    assert checked.returncode == 0, checked.stdout + checked.stderr


async def until_started(node: ServerProcess) -> None:
    """Start it as a service manager does: again, where it finds no database."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await asyncio.to_thread(node.start)
            except AssertionError:
                await asyncio.sleep(MOST_BETWEEN)
            else:
                return
