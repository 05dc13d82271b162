"""The live bus on PostgreSQL: notices travel by NOTIFY, many in one statement."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import LiteralString
from uuid import UUID

import msgspec

from chatledger.adapters.queue.in_process import TERMINAL, InProcessListener, InProcessLiveBus
from chatledger.adapters.queue.postgres_link import Notice, PostgresLink, Told
from chatledger.application.ports.queue import Listener, QueueItem, QueueUnavailableError
from chatledger.domain.events import REGISTRY, StopRequested

MAX_NOTICES = 10_000
"""How many notices wait to be told; further ones are dropped."""

NOTICES_AT_ONCE = 64
"""PostgreSQL tells no more than 8,000 bytes at once; a notice has 120 at most."""

GATHERING = 0.005
"""Seconds from one statement to the next, in which notices gather."""

STOP_REQUESTED = REGISTRY.of(StopRequested).name

_TELL: LiteralString = "SELECT count(pg_notify(queue_channel(), told)::text) FROM unnest(%(told)s::text[]) AS told"


class PostgresLiveBus:
    """Tells the listeners of this process at once, and those of others as soon as can be, or not at all."""

    def __init__(self, link: PostgresLink) -> None:
        self._link = link
        self._here = InProcessLiveBus()
        self._notices: dict[Notice, None] = {}
        self._news = asyncio.Event()
        self._stop_observers: list[Callable[[UUID], None]] = []

    def publish(self, item: QueueItem) -> None:
        """Tell all listeners of ``item.message_id`` and of ``item.conversation_id``, wherever. Never waits for them."""
        self._here.publish(item)
        if len(self._notices) < MAX_NOTICES:
            self._notices[Notice(item.message_id, item.conversation_id, item.event)] = None
            self._news.set()

    def rouse(self) -> None:
        """Wake all listeners of this process, as if each had been told something."""
        self._here.rouse()

    def listen(self, subject_id: UUID) -> InProcessListener:
        """Begin to listen to one message, up to its terminal event, or to all messages of a conversation."""
        return self._here.listen(subject_id)

    def stop_listen(self, subject_id: UUID, listener: Listener) -> None:
        """End listening."""
        self._here.stop_listen(subject_id, listener)

    def observe_stops(self, observer: Callable[[UUID], None]) -> None:
        """Call ``observer`` with each message that another process has asked the end of. It must not block or raise."""
        self._stop_observers.append(observer)

    def hear(self, notices: Sequence[Notice]) -> None:
        """Another process tells."""
        for notice in notices:
            is_terminal = notice.event in TERMINAL
            self._here.tell(notice.message_id.int, notice.conversation_id.int, is_terminal=is_terminal)
            if notice.event == STOP_REQUESTED:
                for observer in self._stop_observers:
                    observer(notice.message_id)

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
