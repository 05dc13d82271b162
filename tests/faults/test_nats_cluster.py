"""What a queue does whose three NATS servers die. Only at full length: nodes outlive it in each run (test_nodes.py)."""

import asyncio

import nats
import pytest
from nats.js.api import StreamConfig

from chatledger.application.ports.queue import QueueUnavailableError
from chatledger.application.system_clock import new_id
from tests.contracts.items import an_item
from tests.contracts.test_nats_queue import opened, works
from tests.faults.conftest import SAMPLE
from tests.support.nats import NatsCluster

pytestmark = [pytest.mark.faults, pytest.mark.nats]


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> NatsCluster:
    if request.config.getoption("--kills") <= SAMPLE:
        pytest.skip("only at full length, by ./faults")
    cluster: NatsCluster = request.getfixturevalue("nats_cluster")
    return cluster


async def stream_of(cluster: NatsCluster, root: str) -> tuple[StreamConfig, str]:
    """The stream as it is, and who leads it."""
    async with await nats.connect(cluster.urls) as operator:
        found = await operator.jetstream().stream_info(root.replace(".", "-"))
    return found.config, found.cluster.leader


async def test_a_cluster_goes_on_without_the_leader_and_after_all_were_killed(cluster: NatsCluster) -> None:
    root = f"chatledger.{new_id().hex}"
    opening = [opened(urls=cluster.urls, root=root, replicas=3) for _ in range(2)]
    async with asyncio.timeout(60), opening[0] as here, opening[1] as there:
        await works(here)
        cluster.named((await stream_of(cluster, root))[1]).kill()
        await works(here)
        await works(there)
        for server in cluster.servers:
            server.kill()
        for queues in (here, there):
            with pytest.raises(QueueUnavailableError):
                await queues.tasks.publish(an_item())
        await asyncio.to_thread(cluster.start)
        await works(here)
        await works(there)


async def test_the_most_replicas_that_a_node_wants_are_made(cluster: NatsCluster) -> None:
    root = f"chatledger.{new_id().hex}"
    for replicas, are_made in ((1, 1), (3, 3), (1, 3)):
        async with asyncio.timeout(60), opened(urls=cluster.urls, root=root, replicas=replicas) as queues:
            await works(queues)
        assert (await stream_of(cluster, root))[0].num_replicas == are_made
