"""The live bus between processes, on two subjects of core NATS. What is lost is found on the ledger a second later.

What a process has to tell of within two milliseconds travels as one notice, to every other process. To
have the servers sort it by message would cost both sides more: a subject, a subscription and a packet for each message
of each commit (docs/nats.md has the figures).
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from uuid import UUID

from nats.aio.client import Client
from nats.aio.msg import Msg

from chatledger.adapters.queue.in_process import TERMINAL
from chatledger.adapters.queue.nats_connection import TROUBLE, NatsConnection
from chatledger.adapters.queue.shared_bus import STOP_REQUESTED, SharedLiveBus
from chatledger.application.ports.queue import QueueItem

MAX_UNTOLD = 10_000
MAX_IN_NOTICE = 1_000
GATHER = 0.002

_ID = 16
_ENTRY = 1 + 2 * _ID


class NatsLiveBus(SharedLiveBus):
    """Listeners of this process are told at once, those of others by :meth:`run`, which runs all the time.

    Args:
        root: what the names of this ledger begin with; no other ledger has the same.
    """

    def __init__(self, connection: NatsConnection, root: str) -> None:
        super().__init__()
        self._connection = connection
        self._news, self._stops = f"{root}.news", f"{root}.stops"
        self._untold: deque[QueueItem] = deque(maxlen=MAX_UNTOLD)
        self._has_work = asyncio.Event()
        connection.prepare(self._prepare)

    def publish(self, item: QueueItem) -> None:
        """Tell all listeners of ``item.message_id`` and of ``item.conversation_id``. Never waits for them."""
        self._here.publish(item)
        self._untold.append(item)
        self._has_work.set()

    async def run(self) -> None:
        """Tell other processes, and hear of them."""
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            if (client := self._connection.client) is None:
                self._untold.clear()
                continue
            with suppress(*TROUBLE):
                await self._tell(client)
            await asyncio.sleep(GATHER)

    async def _prepare(self, client: Client) -> None:
        await client.subscribe(self._news, cb=self._hear_news)
        await client.subscribe(self._stops, cb=self._hear_stops)

    async def _tell(self, client: Client) -> None:
        told = [self._untold.popleft() for _ in range(len(self._untold))]
        stops = [item.message_id for item in told if item.event == STOP_REQUESTED]
        if stops:
            await client.publish(self._stops, b"".join(message_id.bytes for message_id in stops))
        entries = iter(told)
        while notice := b"".join(map(_entry, islice(entries, MAX_IN_NOTICE))):
            await client.publish(self._news, notice)

    async def _hear_news(self, notice: Msg) -> None:
        if not self._here.has_listeners:
            return
        for is_terminal, message_id, conversation_id in _entries(notice.data):
            self._here.tell(message_id, conversation_id, is_terminal=is_terminal)

    async def _hear_stops(self, notice: Msg) -> None:
        for start in range(0, len(notice.data) - _ID + 1, _ID):
            self._hear_stop(UUID(bytes=notice.data[start : start + _ID]))


def _entry(item: QueueItem) -> bytes:
    return (b"\1" if item.event in TERMINAL else b"\0") + item.message_id.bytes + item.conversation_id.bytes


def _entries(notice: bytes) -> Iterator[tuple[bool, int, int]]:
    for start in range(0, len(notice) - _ENTRY + 1, _ENTRY):
        message_id = int.from_bytes(notice[start + 1 : start + 1 + _ID])
        yield notice[start] == 1, message_id, int.from_bytes(notice[start + 1 + _ID : start + _ENTRY])
