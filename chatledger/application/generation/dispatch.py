"""From the ledger to the queue: what follows it, and the sweeper, which finds what got lost on the way."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Collection, Sequence
from uuid import UUID

from chatledger.application.commands.stopping import Stopping
from chatledger.application.fault_report import describe
from chatledger.application.generation.offering import AT_ONCE, Offering
from chatledger.application.ledger.envelope import Envelope, to_microseconds
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.queue import QueueItem
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import UnfinishedTask, Views
from chatledger.domain.events import GenerationRequeued, MessageCreated
from chatledger.domain.values import TURN_TAKERS

log = logging.getLogger(__name__)

SWEEP_LIMIT = 1_000
MAX_BACKLOG = 10_000
JUST_AFTER = 0.005
"""Seconds. The loop's clock and the clock of the day do not agree to the last millisecond."""


def item_of(task: UnfinishedTask, event: str, *, dispatch: int = 0) -> QueueItem:
    """Work that the read models tell of, where an event of that name would tell of it."""
    return QueueItem(
        task_id=task.task_id,
        message_id=task.message_id,
        conversation_id=task.conversation_id,
        mode=task.mode,
        event=event,
        source="pipeline",
        attempt=task.attempt,
        dispatch=dispatch,
    )


class Dispatcher:
    """Publishes each new task that need not wait once it is committed. What it cannot publish, the sweeper does."""

    def __init__(self, offering: Offering) -> None:
        self._offering = offering
        self._backlog: deque[QueueItem] = deque(maxlen=MAX_BACKLOG)
        self._news = asyncio.Event()

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        for envelope in envelopes:
            created = envelope.body
            if isinstance(created, MessageCreated) and created.on_busy not in TURN_TAKERS:
                if len(self._backlog) == MAX_BACKLOG:
                    self._offering.leave(f"{MAX_BACKLOG} tasks are still to be offered")
                self._backlog.append(
                    QueueItem(
                        task_id=created.task_id,
                        message_id=envelope.stream_id,
                        conversation_id=created.conversation_id,
                        mode=created.mode,
                        event="MessageCreated",
                        source="pipeline",
                        version=envelope.version,
                    )
                )
                self._news.set()

    async def run(self) -> None:
        """Publish as news comes in."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._backlog:
                some = [self._backlog.popleft() for _ in range(min(len(self._backlog), AT_ONCE))]
                await self._offering.offer(some)


class Sweeper:
    """Looks at the tasks themselves: those that are due, those whose worker is dead, and those out of time.

    One node sweeps for all, at every interval; each publishes at the very moment that a task which it put back itself
    falls due. Of what is out of time the sweep ends what no worker is at: the others end theirs.
    """

    def __init__(
        self,
        ledger: Ledger,
        views: Views,
        offering: Offering,
        stopping: Stopping,
        clock: Clock,
        *,
        interval: float,
        timeout: float,
    ) -> None:
        """Take the interval, and the time that a generation may take, in seconds."""
        self._ledger = ledger
        self._views = views
        self._offering = offering
        self._stopping = stopping
        self._clock = clock
        self._interval = interval
        self._timeout = timeout
        self._due: set[UUID] = set()
        self._is_due = asyncio.Event()

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        for envelope in envelopes:
            if isinstance(envelope.body, GenerationRequeued):
                wait = (envelope.body.not_before - self._clock.now()).total_seconds()
                asyncio.get_running_loop().call_later(max(0.0, wait) + JUST_AFTER, self._fall_due, envelope.stream_id)

    def _fall_due(self, message_id: UUID) -> None:
        if len(self._due) < MAX_BACKLOG:  # what is more is left to the sweep
            self._due.add(message_id)
            self._is_due.set()

    async def run(self) -> None:
        """Sweep at once, then again and again: one node for all."""
        while True:
            await self._try(self.sweep())
            await asyncio.sleep(self._interval)

    async def follow(self) -> None:
        """Publish what this node has put back, once it is due."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            while self._due:
                due = [self._due.pop() for _ in range(min(len(self._due), SWEEP_LIMIT))]
                await self._try(self._publish(due))

    async def _try(self, work: Awaitable[int]) -> None:
        try:
            await work
        except StorageUnavailableError as error:
            log.warning("sweep missed: the store is in trouble: %s", error)

    async def sweep(self) -> int:
        """End what is out of time; publish every other task that nobody works on, and tell how many there were.

        Nothing is done while nothing gets on record.
        """
        if self._ledger.trouble is not None:
            return 0
        now = to_microseconds(self._clock.now())
        for message_id in await self._views.overdue(now - int(self._timeout * 1_000_000), now, SWEEP_LIMIT):
            await self._time_out(message_id)
        return await self._publish()

    async def _publish(self, among: Collection[UUID] | None = None) -> int:
        if self._ledger.trouble is not None:
            return 0
        tasks = await self._views.unclaimed(to_microseconds(self._clock.now()), SWEEP_LIMIT, among)
        await self._offering.offer([item_of(task, "GenerationRequeued", dispatch=1) for task in tasks])
        return len(tasks)

    async def _time_out(self, message_id: UUID) -> None:
        try:
            await self._stopping.stop_for("timeout", message_id)
        except StorageUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - one message's failure is not the others'
            log.warning("message %s is out of time, and is ended later: %s", message_id, describe(error))
