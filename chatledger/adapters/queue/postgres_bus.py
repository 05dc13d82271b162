"""The live bus on PostgreSQL: notices travel by NOTIFY, many in one statement."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import LiteralString

import msgspec

from chatledger.adapters.queue.in_process import TERMINAL
from chatledger.adapters.queue.postgres_link import Notice, PostgresLink, Told
from chatledger.adapters.queue.shared_bus import STOP_REQUESTED, SharedLiveBus
from chatledger.application.ports.queue import QueueItem, QueueUnavailableError

MAX_NOTICES = 10_000
"""How many notices wait to be told; further ones are dropped."""

NOTICES_AT_ONCE = 64
"""PostgreSQL tells no more than 8,000 bytes at once; a notice has 120 at most."""

GATHERING = 0.005
"""Seconds from one statement to the next, in which notices gather."""

_TELL: LiteralString = "SELECT count(pg_notify(queue_channel(), told)::text) FROM unnest(%(told)s::text[]) AS told"


class PostgresLiveBus(SharedLiveBus):
    """Tells the listeners of this process at once, and those of others as soon as can be, or not at all."""

    def __init__(self, link: PostgresLink) -> None:
        super().__init__()
        self._link = link
        self._notices: dict[Notice, None] = {}
        self._news = asyncio.Event()

    def publish(self, item: QueueItem) -> None:
        """Tell all listeners of ``item.message_id`` and of ``item.conversation_id``, wherever. Never waits for them."""
        self._here.publish(item)
        if len(self._notices) < MAX_NOTICES:
            self._notices[Notice(item.message_id, item.conversation_id, item.event)] = None
            self._news.set()

    def hear(self, notices: Sequence[Notice]) -> None:
        """Another process tells."""
        for notice in notices:
            is_terminal = notice.event in TERMINAL
            self._here.tell(notice.message_id.int, notice.conversation_id.int, is_terminal=is_terminal)
            if notice.event == STOP_REQUESTED:
                self._hear_stop(notice.message_id)

    async def run(self) -> None:
        """Tell other processes what was published, until cancelled. What cannot be told now is dropped."""
        while True:
            await self._news.wait()
            self._news.clear()
            notices = list(self._notices)
            self._notices.clear()
            with suppress(QueueUnavailableError):
                await self._link.run(_TELL, {"told": list(self._payloads(notices))})
            await asyncio.sleep(GATHERING)

    def _payloads(self, notices: Sequence[Notice]) -> Iterator[str]:
        for first in range(0, len(notices), NOTICES_AT_ONCE):
            yield msgspec.json.encode(Told(self._link.node, notices[first : first + NOTICES_AT_ONCE])).decode()
