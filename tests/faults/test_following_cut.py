"""Connections to PostgreSQL that are cut while a projection and a handler follow: nothing is lost or counts twice."""

import asyncio

import psycopg
import pytest

from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.hand_ins import HandIn, NewEvent
from chatledger.application.ledger.subscription import Handler
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.system_clock import new_id
from chatledger.domain.aggregate import Recorded
from chatledger.domain.events import StopRequested
from tests.application.chat import open_chat
from tests.support.host_tables import SeenEvents, seen

pytestmark = [pytest.mark.faults, pytest.mark.postgres]

CUTS = 10
CATCH_UP_WITHIN = 30.0

CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_cut_connections_cost_a_subscription_nothing(tmp_path, postgres_url):
    handled, is_over = [], False

    async def handle(fact):
        handled.append(fact.envelope.position)

    async def write(writer):
        while not is_over:
            event = NewEvent(Recorded(new_id(), 1, StopRequested(by="user")), "message", new_id(), None)
            try:
                await writer.hand_in(HandIn(events=[event], context=Context(actor=SYSTEM, correlation_id=new_id())))
            except StorageUnavailableError:
                await asyncio.sleep(0.01)

    options = {"projections": [SeenEvents()], "handlers": [Handler(name="handled", handle=handle, since="first")]}
    # One failure would park a stream: a lost connection must not count as one.
    options |= {"subscription_attempts": 1, "subscription_poll": 0.05}
    place = {"database_url": postgres_url, "durability": "relaxed"}
    async with open_chat(tmp_path, with_worker=False, **options, **place) as chat:
        subscriptions = chat.running.subscriptions
        writing = asyncio.create_task(write(chat.running.writer))
        for _ in range(CUTS):
            position = subscriptions["seen"].position
            await asyncio.to_thread(cut, postgres_url)
            await subscriptions["seen"].caught_up(position + 20, timeout=CATCH_UP_WITHIN)
        is_over = True
        await writing
        for subscription in subscriptions:
            await subscription.caught_up(timeout=CATCH_UP_WITHIN)
            assert await subscription.parked() == []
        counted = await chat.running.reader.query(lambda c: [row.position for row in c.execute(seen())])
        head = (await chat.running.store.head()).position
        assert counted == list(range(1, head + 1))
        assert sorted(set(handled)) == counted


def cut(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(CUT)
