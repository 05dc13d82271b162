"""Connections cut in the middle of COMMIT: what was acknowledged is there, what was refused is not, nothing is twice.

More of them: ``./faults --only commit_cut``.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import pytest

from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.adapters.persistence.database import database_at
from chatledger.adapters.persistence.store import Reader, SqlLedgerStore
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.hand_ins import HandIn, NewEvent
from chatledger.application.ledger.projections import Projections
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.system_clock import SystemClock, new_id
from chatledger.domain.aggregate import Recorded
from chatledger.domain.events import StopRequested
from tests.support.master_keys import master_key
from tests.support.toxic import ToxicProxy, Trap

pytestmark = [pytest.mark.faults, pytest.mark.postgres]

STREAMS = 5
PATIENCE = 30.0


class Callers:
    """Each owns a stream and hands in one event after the other; what is refused is handed in again as it was."""

    def __init__(self, writer: GroupCommitWriter) -> None:
        self.writer = writer
        self.streams = [new_id() for _ in range(STREAMS)]
        self.acknowledged = {stream_id: [] for stream_id in self.streams}
        self.refused = 0
        self.is_over = False

    async def run(self) -> None:
        await asyncio.gather(*map(self._keep_on, self.streams))

    async def _keep_on(self, stream_id) -> None:
        while not self.is_over:
            version = len(self.acknowledged[stream_id]) + 1
            event = NewEvent(Recorded(stream_id, version, StopRequested(by="user")), "message", new_id(), None)
            hand_in = HandIn(events=[event], context=Context(actor=SYSTEM, correlation_id=new_id()))
            async with asyncio.timeout(PATIENCE):
                while not await self._is_acknowledged(hand_in):
                    self.refused += 1
                    await asyncio.sleep(0.01)
            self.acknowledged[stream_id].append(event.event_id)

    async def get_on(self, events: int) -> None:
        """Until so many more events are acknowledged."""
        wanted = self.count() + events
        while self.count() < wanted:  # noqa: ASYNC110 - what the callers have is no state that could be signalled
            await asyncio.sleep(0.001)

    def count(self) -> int:
        return sum(map(len, self.acknowledged.values()))

    async def _is_acknowledged(self, hand_in: HandIn) -> bool:
        try:
            (envelope,) = await self.writer.hand_in(hand_in)
        except StorageUnavailableError:
            return False
        assert envelope.event_id == hand_in.events[0].event_id
        return True


def cut_the_next_commit(proxy: ToxicProxy, dice: random.Random) -> Trap:
    """Before the server hears of it, once it has heard, or when its answer is on the way."""
    return dice.choice(
        [
            lambda: proxy.cut_at(b"COMMIT", "to_server", "before"),
            lambda: proxy.cut_at(b"COMMIT", "to_server", "after"),
            lambda: proxy.cut_at(b"COMMIT", "to_client", "before"),
        ]
    )()


@pytest.fixture
async def proxied(postgres_server) -> AsyncIterator[ToxicProxy]:
    async with ToxicProxy(postgres_server.port) as proxy:
        yield proxy


async def test_a_cut_commit_loses_and_doubles_nothing(
    postgres_server, migrated_database, proxied, tmp_path, request, findings
):
    cuts, seed = request.config.getoption("--cuts"), request.config.getoption("--first-seed")
    dice = random.Random(seed)
    url = postgres_server.fresh_database(migrated_database)
    through_proxy = urlsplit(url)._replace(netloc=f"postgres@127.0.0.1:{proxied.port}").geturl()
    database = database_at(through_proxy, "relaxed")
    with findings.round("a cut in COMMIT", seed) as cut, ExitStack() as stack:
        cut.count(rounds=cuts)
        engine = await asyncio.to_thread(stack.enter_context, database.alone())
        reader = stack.enter_context(closing(Reader(database_at(url, "relaxed").reading())))
        keyring = stack.enter_context(
            closing(StoredKeyring(SqliteKeyStore(tmp_path / "keys.db"), master_key(tmp_path), new_id))
        )
        store = SqlLedgerStore(engine, reader)
        projections, loop = Projections(RowSeals(keyring)), asyncio.get_running_loop()
        writer = GroupCommitWriter(store, EventCodec(keyring), keyring, projections, SystemClock(), loop)
        told: list[int] = []
        writer.observe(lambda envelopes: told.extend(envelope.position for envelope in envelopes))
        writer.start(0)
        callers = Callers(writer)
        running = asyncio.create_task(callers.run())
        try:
            for _ in range(cuts):
                async with asyncio.timeout(PATIENCE):
                    await cut_the_next_commit(proxied, dice).sprung.wait()
                    await callers.get_on(dice.randint(1, 3 * STREAMS))
        finally:
            callers.is_over = True
            await running
            await writer.close()

        rows = await store.log(list, after=0, limit=1_000_000)
        assert [row.position for row in rows] == list(range(1, len(rows) + 1))
        assert told == [row.position for row in rows]
        for stream_id in callers.streams:
            found = [row for row in rows if row.stream_id == stream_id]
            assert [row.version for row in found] == list(range(1, len(found) + 1))
            assert [row.event_id for row in found] == callers.acknowledged[stream_id]
