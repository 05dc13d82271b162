"""Telling one endpoint what happened: each event at least once, those of one conversation in their order."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

import msgspec

from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.webhooks import (
    Deliveries,
    Endpoint,
    NotSentError,
    Progress,
    Reply,
    Undelivered,
    WebhookSender,
)
from chatledger.application.waiting import backoff
from chatledger.application.webhooks.lines import Lines, Waiting
from chatledger.application.webhooks.sending import SECOND, send_signed
from chatledger.application.webhooks.signing import webhook_id
from chatledger.application.webhooks.telling import Telling, UnreadableError
from chatledger.domain.values import DisabledFor

log = logging.getLogger(__name__)

AT_ONCE = 8
"""How many conversations an endpoint is told of at the same time."""

IN_MEMORY = 500
"""How many events an endpoint may be behind the ledger's reading without a row for each."""

ON_RECORD = 10_000
"""How many events may wait for it in rows; then its part of the ledger is read no further until it has taken some."""

MOST_DEAD = 1_000
"""An endpoint that has refused more events than these for good is disabled."""

LONGEST_PAUSE = 24 * 3_600.0
"""Seconds. An endpoint is left alone no longer, whatever it asks for."""

SAVE_INTERVAL = 0.2
"""Seconds. Progress is saved no more often: a crash repeats what was told since."""

READ_SAVE_INTERVAL = 30.0
"""Seconds. No more often where it was told nothing since: a crash repeats the reading."""

LONGEST_SLEEP = 60.0
NOT_BEGUN = -1
GONE = 410

_encode = msgspec.json.Encoder().encode


class DeliveryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When what was not taken is tried again. Times are seconds.

    Attributes:
        attempts: how often an event is tried before it is dead.
        first_delay: after the first failure; the delay doubles with each, up to the longest, with jitter.
        give_up: an endpoint that has taken nothing for so long, though it was tried, is disabled.
    """

    attempts: int = 16
    first_delay: float = 5.0
    longest_delay: float = 3_600.0
    give_up: float = 72 * 3_600.0


class _Failure(msgspec.Struct, frozen=True):
    """Why an event was not taken.

    Attributes:
        is_lasting: trying again is of no use.
    """

    error: str
    retry_after: float | None = None
    is_gone: bool = False
    is_lasting: bool = False


class Courier:
    """Tells one endpoint.

    Events are taken in as the ledger has them, into one line for each conversation. The first of each line is tried;
    what fails holds up its own line and no other, and is on record from then on with all behind it. Where the lines of
    several conversations fail and nothing is taken between, it is the endpoint that is down: then no event counts a
    failure, and one at a time is tried, later each time, until one is taken.

    Attributes:
        endpoint: as it is registered now.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        telling: Telling,
        deliveries: Deliveries,
        sender: WebhookSender,
        clock: Clock,
        policy: DeliveryPolicy,
        slots: asyncio.Semaphore,
        *,
        disable: Callable[[UUID, DisabledFor], Awaitable[None]],
    ) -> None:
        """``slots`` are those of all endpoints together."""
        self.endpoint = endpoint
        self._telling = telling
        self._deliveries = deliveries
        self._sender = sender
        self._clock = clock
        self._policy = policy
        self._slots = slots
        self._disable = disable
        self._closing = False
        self._stir = asyncio.Event()
        self._reset()

    def _reset(self) -> None:
        self._lines = Lines()
        self._sending: set[asyncio.Task[None]] = set()
        self._progress = Progress(position=0)
        self._revision = NOT_BEGUN
        self._read_up_to = 0
        self._is_behind = True
        self._dead = 0
        self._failed: set[UUID] = set()
        self._undelivered: dict[int, Undelivered] = {}
        self._delivered: set[int] = set()
        self._recorded_up_to: dict[UUID, int] = {}
        self._saved_at = float("-inf")
        self._is_dirty = False
        self._has_read_on = False
        self._is_saving = False
        self._failed_at = 0
        self._due_until = 0
        self._cause: DisabledFor | None = None
        self._error: BaseException | None = None

    @property
    def revision(self) -> int:
        """That of the record which it builds on; :data:`NOT_BEGUN` before it has read it."""
        return self._revision

    # What others tell it

    def news(self) -> None:
        """There may be more on the ledger."""
        self._is_behind = True
        self._stir.set()

    def close(self) -> None:
        """End, once what is being sent has been."""
        self._closing = True
        self._stir.set()

    # The loop

    async def run(self) -> None:
        """Tell the endpoint, from where it stands, until closed or until it is to be disabled.

        Raises:
            StorageUnavailableError: the store is in trouble. It can be run again, and repeats a little.
            RecordChangedError: it has to begin with what is on record now.
            LeaseLostError: another node tells the endpoint.
        """
        self._reset()
        try:
            await self._begin()
            while not (self._closing or self._cause):
                self._stir.clear()
                if self._error is not None:
                    raise self._error
                await self._take_in()
                self._send_out()
                await self._save_now_and_then()
                await self._wait()
            if self._sending:
                await asyncio.wait(self._sending)
            await self._save()
        except asyncio.CancelledError:
            await self._stop_sending()
            if (self._is_dirty or self._has_read_on) and not self._is_saving:
                with suppress(Exception):  # what could not be saved is told again
                    await self._save()
            raise
        finally:
            await self._stop_sending()
        if self._cause is not None:
            await self._disable(self.endpoint.endpoint_id, self._cause)

    async def _stop_sending(self) -> None:
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _begin(self) -> None:
        found = await self._deliveries.begin(self.endpoint.endpoint_id, self.endpoint.after)
        self._progress, self._dead = found.progress, max(0, found.dead - found.forgiven)
        self._read_up_to, self._revision = found.progress.position, found.revision
        self._due_until = max((each.due_at for each in found.undelivered), default=0)
        for each in found.undelivered:
            self._recorded_up_to[each.order_id] = each.position
            if not each.is_dead:
                self._lines.add(Waiting(each.position, each.order_id, each.attempts, each.due_at, is_on_record=True))
            if each.error is not None and found.progress.failing_since is not None:
                self._failed.add(each.order_id)

    async def _take_in(self) -> None:
        """Read on, where there is more and room for it."""
        if not self._is_behind or self._lines.in_memory >= IN_MEMORY or self._lines.on_record >= ON_RECORD:
            return
        self._is_behind = False
        read = await self._telling.after(self._read_up_to)
        for event in await self._telling.chosen(self.endpoint, read):
            # Where one of a line is on record, all before it that were not taken are, too.
            waiting = Waiting(event.position, event.order_id)
            if event.position > self._recorded_up_to.get(event.order_id, 0) and self._lines.add(waiting):
                self._record(waiting)
                self._is_dirty = True
        self._has_read_on = self._has_read_on or read.end > self._read_up_to
        self._read_up_to = max(self._read_up_to, read.end)
        if read.is_full:
            self.news()

    def _record(self, waiting: Waiting, error: str | None = None, *, is_dead: bool = False) -> None:
        """Write its row with the next save."""
        self._undelivered[waiting.position] = Undelivered(
            position=waiting.position,
            order_id=waiting.order_id,
            attempts=waiting.attempts,
            due_at=waiting.due_at,
            error=error,
            failed_at=None if error is None else self._now(),
            is_dead=is_dead,
        )

    def _send_out(self) -> None:
        """Try the first of each line whose time has come, as many as may be at once."""
        now = self._now()
        while self._has_slot and (next_at := self._next_at) is not None and next_at <= now:
            task = asyncio.create_task(self._try(self._lines.take()))
            self._sending.add(task)
            task.add_done_callback(self._tried)

    @property
    def _has_slot(self) -> bool:
        return len(self._sending) < (1 if self._is_down else AT_ONCE)

    @property
    def _next_at(self) -> int | None:
        """When the next line is to be tried."""
        due_at = self._lines.due_at
        return None if due_at is None else max(due_at, self._progress.paused_until)

    def _tried(self, task: "asyncio.Task[None]") -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = error
        self._stir.set()

    async def _wait(self) -> None:
        """Until something has happened, or is due."""
        longest = LONGEST_SLEEP
        if self._has_slot and (next_at := self._next_at) is not None:
            longest = min(longest, max(0.0, (next_at - self._now()) / SECOND))
        try:
            async with asyncio.timeout(min(longest, self._save_in)):
                await self._stir.wait()
        except TimeoutError:
            pass

    # One attempt

    async def _try(self, waiting: Waiting) -> None:
        async with self._slots:
            began = self._now()
            failure = await self._send(waiting)
        self._is_dirty = True
        is_done = True
        if failure is None:
            self._taken(waiting)
        else:
            is_done = self._not_taken(waiting, failure, began)
        self._lines.give_back(waiting, is_done=is_done)

    async def _send(self, waiting: Waiting) -> _Failure | None:
        """Why it was not taken, or None if it was."""
        endpoint = self.endpoint
        try:
            event = await self._telling.event_at(waiting.position)
        except UnreadableError as error:
            return _Failure(f"unreadable: {error}", is_lasting=True)
        message_id = webhook_id(endpoint.endpoint_id, event.id)
        try:
            reply = await send_signed(self._sender, endpoint, message_id, _encode(event), self._now())
        except NotSentError as error:
            return _Failure(error.reason)
        return None if reply.is_success else _refusal(reply)

    def _taken(self, waiting: Waiting) -> None:
        if waiting.is_on_record:
            self._undelivered.pop(waiting.position, None)
            self._delivered.add(waiting.position)
        paused_until = 0 if self._is_down else self._progress.paused_until
        self._progress = Progress(position=self._progress.position, paused_until=paused_until)
        self._failed.clear()

    def _not_taken(self, waiting: Waiting, failure: _Failure, began: int) -> bool:
        """What follows a failure; whether the event is dead."""
        now = self._now()
        self._failed.add(waiting.order_id)
        self._decide(waiting, failure, began, now)
        is_dead = failure.is_lasting or waiting.attempts >= self._policy.attempts
        for each in self._lines.keep(waiting.order_id):
            self._record(each)
        self._record(waiting, failure.error, is_dead=is_dead)
        if is_dead:
            self._dead += 1
            log.warning("webhook %s: event %d is dead: %s", self.endpoint.endpoint_id, waiting.position, failure.error)
        self._give_up_where_due(failure, now)
        return is_dead

    def _decide(self, waiting: Waiting, failure: _Failure, began: int, now: int) -> None:
        """When it is tried again, and whether the failure counts as its own."""
        policy, progress = self._policy, self._progress
        asked_for = min(failure.retry_after or 0.0, LONGEST_PAUSE)
        failures, paused_until = progress.failures, progress.paused_until
        if self._is_down:
            # Those that were under way together have failed together.
            failures += began >= self._failed_at
            self._failed_at = now
            delay = max(asked_for, backoff(max(1, failures), policy.first_delay, policy.longest_delay))
        else:
            waiting.attempts += 1
            delay = max(asked_for, backoff(waiting.attempts, policy.first_delay, policy.longest_delay))
        waiting.due_at = now + int(delay * SECOND)
        if self._is_down or asked_for:
            paused_until = max(paused_until, waiting.due_at)
        self._progress = Progress(
            position=progress.position,
            failures=failures,
            failing_since=now if progress.failing_since is None else progress.failing_since + self._untried(began),
            paused_until=paused_until,
        )
        self._due_until = max(self._due_until, waiting.due_at)

    def _untried(self, began: int) -> int:
        """For how long there was nothing to try, or nobody to try it, before an attempt: that is no failing."""
        progress = self._progress
        return max(0, began - max(self._due_until, progress.paused_until, progress.failing_since or 0))

    def _give_up_where_due(self, failure: _Failure, now: int) -> None:
        failing_since = self._progress.failing_since or now
        if failure.is_gone:
            self._cause = "gone"
        elif now - failing_since > self._policy.give_up * SECOND:
            self._cause = "failing"
        elif self._dead > MOST_DEAD:
            self._cause = "dead_letters"

    @property
    def _is_down(self) -> bool:
        """Whether several conversations have failed in a row: then it is not theirs, but the endpoint's doing."""
        return len(self._failed) > 1

    # What is on record

    @property
    def _position(self) -> int:
        """Everything up to here was taken, or is on record."""
        first = self._lines.first_in_memory
        return self._read_up_to if first is None else first - 1

    async def _save_now_and_then(self) -> None:
        if self._save_in <= 0:
            await self._save()

    @property
    def _save_in(self) -> float:
        """Seconds until progress is to be saved."""
        if not (self._is_dirty or self._has_read_on):
            return LONGEST_SLEEP
        interval = SAVE_INTERVAL if self._is_dirty else READ_SAVE_INTERVAL
        return max(0.0, self._saved_at + interval - asyncio.get_running_loop().time())

    async def _save(self) -> None:
        self._saved_at = asyncio.get_running_loop().time()
        self._is_dirty = self._has_read_on = False
        self._progress = msgspec.structs.replace(self._progress, position=self._position)
        undelivered, delivered = list(self._undelivered.values()), set(self._delivered)
        self._undelivered.clear()
        self._delivered.clear()
        self._is_saving = True  # and stays so where it fails: then nothing may be saved that builds on it
        await self._deliveries.save(
            self.endpoint.endpoint_id, self._progress, undelivered, delivered, revision=self._revision
        )
        self._is_saving = False

    def _now(self) -> int:
        return to_microseconds(self._clock.now())


def _refusal(reply: Reply) -> _Failure:
    return _Failure(str(reply.status), retry_after=reply.retry_after, is_gone=reply.status == GONE)
