"""The task queue on PostgreSQL: one row for each task, attempt and dispatch, in the table ``queued_tasks``."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, LiteralString
from uuid import UUID

import msgspec

from chatledger.adapters.queue.in_process import MAX_QUEUED
from chatledger.adapters.queue.postgres_link import PAUSE, PostgresLink, Told
from chatledger.adapters.queue.takers import Takers
from chatledger.application.ports.queue import Delivery, QueueFullError, QueueItem, QueueUnavailableError

log = logging.getLogger(__name__)

MAX_DELIVERIES = 10
"""How often a task is delivered to processes that die of it, or with it; then its row is left out."""

POLL = 1.0
"""Seconds after which the table is looked at without a word: a lost notice costs no more."""

JUST_AFTER = 0.005
"""Seconds. The loop's clock and the database's do not agree to the last millisecond."""

# Past `due_at` a row is whose comes first: what waits, what was put back, and what a holder did not keep alive.

# How much room there is, is counted where it is not given.
_OFFER: LiteralString = """
WITH wanted AS (
    SELECT wanted.*, EXISTS (
        SELECT FROM queued_tasks AS waiting
        WHERE holder IS NULL AND waiting.task_id = wanted.task_id
          AND waiting.attempt = wanted.attempt AND waiting.dispatch = wanted.dispatch
    ) AS waits
    FROM unnest(%(task_ids)s::uuid[], %(attempts)s::integer[], %(dispatches)s::integer[], %(items)s::text[])
         WITH ORDINALITY AS wanted (task_id, attempt, dispatch, item, place)
), room AS MATERIALIZED (
    SELECT coalesce(
        %(room)s::bigint,
        %(bound)s - (SELECT count(*) FROM (SELECT FROM queued_tasks WHERE holder IS NULL LIMIT %(bound)s) AS waiting)
    ) AS places
), fitting AS (
    SELECT wanted.*, count(*) FILTER (WHERE NOT waits) OVER (ORDER BY place) <= places AS fits FROM wanted, room
), offered AS (
    INSERT INTO queued_tasks (task_id, attempt, dispatch, item)
    SELECT task_id, attempt, dispatch, item::json FROM fitting WHERE fits AND NOT waits ORDER BY place
    ON CONFLICT DO NOTHING
    RETURNING task_id, attempt, dispatch
)
SELECT offered.task_id IS NOT NULL, waits OR fits, places,
       (SELECT pg_notify(queue_channel(), %(told)s)::text FROM offered LIMIT 1)
FROM room, fitting LEFT JOIN offered USING (task_id, attempt, dispatch)
ORDER BY place
"""

_TAKE: LiteralString = """
WITH next AS (
    SELECT sequence FROM queued_tasks
    WHERE due_at <= now() AND deliveries < %(deliveries)s
    ORDER BY sequence LIMIT %(count)s
    FOR UPDATE SKIP LOCKED
)
UPDATE queued_tasks AS task
SET holder = %(node)s, due_at = now() + %(lease)s * interval '1 second', deliveries = task.deliveries + 1
FROM next WHERE task.sequence = next.sequence
RETURNING task.sequence, task.item::text
"""

# What is put back begins anew, unless it waits already.
_LET_GO: LiteralString = """
WITH let_go AS (
    DELETE FROM queued_tasks WHERE sequence = ANY(%(sequences)s::bigint[]) AND holder = %(node)s
    RETURNING sequence, task_id, attempt, dispatch, item
), put_back AS (
    INSERT INTO queued_tasks (task_id, attempt, dispatch, item, due_at)
    SELECT task_id, attempt, dispatch, item, now() + delay * interval '1 second'
    FROM let_go JOIN unnest(%(sequences)s::bigint[], %(delays)s::float8[]) AS wanted (sequence, delay) USING (sequence)
    WHERE delay IS NOT NULL
    ORDER BY sequence
    ON CONFLICT DO NOTHING
)
SELECT pg_notify(queue_channel(), %(told)s)::text WHERE 0 = ANY(%(delays)s::float8[])
"""

_KEEP_ALIVE: LiteralString = """
UPDATE queued_tasks SET due_at = now() + %(lease)s * interval '1 second'
WHERE sequence = ANY(%(sequences)s::bigint[]) AND holder = %(node)s
RETURNING sequence
"""

_LEAVE_OUT: LiteralString = """
DELETE FROM queued_tasks WHERE due_at <= now() AND deliveries >= %(deliveries)s RETURNING task_id
"""


class _Taken(msgspec.Struct, frozen=True):
    item: QueueItem
    sequence: int
    let_go: Callable[[int, float | None], None]

    def done(self) -> None:
        """Its row goes."""
        self.let_go(self.sequence, None)

    def put_back(self, delay: float) -> None:
        """It gets a new row, due then."""
        self.let_go(self.sequence, max(0.0, delay))


class _Offer(msgspec.Struct, frozen=True):
    item: QueueItem
    outcome: asyncio.Future[bool | QueueFullError | QueueUnavailableError]


class PostgresTaskQueue:
    """Takes as much as is waited for here, and no more: what is not taken may be another process's.

    What was taken is this process's for a lease by the database's clock, which is renewed until the task is let go of.
    """

    def __init__(
        self, link: PostgresLink, *, lease: float, bound: int = MAX_QUEUED, deliveries: int = MAX_DELIVERIES
    ) -> None:
        """``lease`` is in seconds; ``bound`` is how many may wait, for all processes together.

        Each counts once a second: so what others offer meanwhile may come on top of it.
        """
        self._link = link
        self._lease = lease
        self._bound = bound
        self._deliveries = deliveries
        self._told = msgspec.json.encode(Told(link.node)).decode()
        self._offers: dict[tuple[UUID, int, int], _Offer] = {}
        self._offering = asyncio.Lock()
        self._room, self._count_at = 0, 0.0
        self._takers = Takers()
        self._held: set[int] = set()
        self._let_go: dict[int, float | None] = {}
        self._may_find = True
        self._renew_at = 0.0
        self._news = asyncio.Event()

    @property
    def is_away(self) -> bool:
        """Whether the database has not answered last."""
        return self._link.is_away

    async def publish(self, item: QueueItem) -> bool:
        """Offer work; False if the same task, attempt and dispatch is waiting already.

        Raises:
            QueueFullError: the bound is reached.
            QueueUnavailableError: the database cannot be reached.
        """
        key = item.task_id, item.attempt, item.dispatch
        is_first = key not in self._offers
        offer = self._offers.setdefault(key, _Offer(item, asyncio.get_running_loop().create_future()))
        async with self._offering:  # in which others join those that go next
            if not offer.outcome.done():
                await self._offer()
        outcome = offer.outcome.result()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome and is_first

    async def _offer(self) -> None:
        """All that there is to be offered, in one statement."""
        offers = list(self._offers.values())
        self._offers.clear()
        try:
            outcomes = await self._outcomes([offer.item for offer in offers])
        except BaseException as error:
            away = error if isinstance(error, QueueUnavailableError) else QueueUnavailableError(type(error).__name__)
            for offer in offers:
                offer.outcome.set_result(away)
            if error is not away:
                raise
            return
        for offer, outcome in zip(offers, outcomes, strict=True):
            offer.outcome.set_result(outcome)

    async def _outcomes(self, items: Sequence[QueueItem]) -> list[bool | QueueFullError]:
        """For each whether it waits now and did not before.

        How many wait is counted once in a while, and whenever there may be too little room.
        """
        now = asyncio.get_running_loop().time()
        is_counted = now < self._count_at and len(items) <= self._room
        rows = await self._link.run(
            _OFFER,
            {
                "task_ids": [item.task_id for item in items],
                "attempts": [item.attempt for item in items],
                "dispatches": [item.dispatch for item in items],
                "items": [msgspec.json.encode(item).decode() for item in items],
                "room": self._room if is_counted else None,
                "bound": self._bound,
                "told": self._told,
            },
        )
        offered = sum(is_offered for is_offered, *_ in rows)
        self._room = rows[0][2] - offered
        if not is_counted:
            self._count_at = now + POLL
        if offered:
            self.look()
        return [is_offered if is_no_fault else QueueFullError() for is_offered, is_no_fault, *_ in rows]

    async def take(self, most: int) -> Sequence[Delivery]:
        """Wait for work, and take ``most`` of it or what there is; nothing after :meth:`stop_taking`."""
        self._news.set()
        return await self._takers.wait(most)

    async def stop_taking(self) -> None:
        """End every :meth:`take`. What was not taken stays queued."""
        self._takers.stop()

    def look(self) -> None:
        """There may be work."""
        self._may_find = True
        self._news.set()

    async def run(self) -> None:
        """Let go of what is done, take for those who wait, and keep what was taken alive, until cancelled."""
        while True:
            self._news.clear()
            try:
                await self._settle()
                await self._take()
                await self._keep_alive()
            except QueueUnavailableError:
                self._may_find = True
                await asyncio.sleep(PAUSE)
            try:
                async with asyncio.timeout(min(POLL, self._lease / 3)):
                    await self._news.wait()
            except TimeoutError:
                self._may_find = True

    async def close(self) -> None:
        """End every :meth:`take`, and let others have what was taken and not let go of."""
        await self.stop_taking()
        self._let_go = dict.fromkeys(self._held, 0.0) | self._let_go
        with suppress(QueueUnavailableError):
            await self._settle()

    def _settle_later(self, sequence: int, delay: float | None) -> None:
        if sequence in self._held:
            self._held.discard(sequence)
            self._let_go[sequence] = delay
            self._news.set()

    async def _settle(self) -> None:
        if not self._let_go:
            return
        settled = dict(self._let_go)
        delays = list(settled.values())
        await self._link.run(_LET_GO, self._of_this_node(settled, delays=delays, told=self._told))
        for sequence in settled:
            del self._let_go[sequence]
        for delay in {delay for delay in delays if delay is not None}:
            asyncio.get_running_loop().call_later(delay + JUST_AFTER, self.look)

    async def _take(self) -> None:
        """As much as is waited for; less than that means that there is no more."""
        count = self._takers.wanted
        if not (count and self._may_find):
            return
        rows = await self._link.run(
            _TAKE, {"node": self._link.node, "lease": self._lease, "deliveries": self._deliveries, "count": count}
        )
        self._may_find = len(rows) == count
        for sequence, item in sorted(rows):
            self._hand_out(sequence, item)

    def _hand_out(self, sequence: int, item: str) -> None:
        try:
            decoded = msgspec.json.decode(item, type=QueueItem)
        except msgspec.MsgspecError:
            return  # another release's, which takes it after the lease
        self._held.add(sequence)
        taken = _Taken(decoded, sequence, self._settle_later)
        if not self._takers.hand(taken):
            taken.put_back(0)

    async def _keep_alive(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._renew_at:
            return
        self._renew_at = now + self._lease / 3
        if self._held:
            await self._link.run(_KEEP_ALIVE, self._of_this_node(self._held, lease=self._lease))
        for (task_id,) in await self._link.run(_LEAVE_OUT, {"deliveries": self._deliveries}):
            log.warning("task %s: left to the sweeper: delivered %d times in vain", task_id, self._deliveries)

    def _of_this_node(self, sequences: "set[int] | dict[int, float | None]", **others: Any) -> dict[str, Any]:
        return {"node": self._link.node, "sequences": list(sequences), **others}
