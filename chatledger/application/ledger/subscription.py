"""A subscription: a projection or a handler of a host that follows the ledger at its own pace."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal
from uuid import UUID

import msgspec

from chatledger.application.errors import ClosedError
from chatledger.application.fault_report import describe
from chatledger.application.ledger.envelope import Fact
from chatledger.application.ledger.log import LedgerLog, LogPage
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.tracking import (
    Delivery,
    EffectFailedError,
    ParkedStream,
    SupersededError,
    TrackedProjection,
    Tracking,
)

log = logging.getLogger(__name__)

PACE = 0.02
"""Seconds. Under load a page is begun no more often than that, unless somebody waits for it: each is a transaction."""

SAVE_INTERVAL = 0.05
"""Seconds. A handler's position is saved no more often than that: a crash repeats what it did since."""


class SubscriptionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How subscriptions follow. Times are seconds.

    Attributes:
        poll: how often to look for commits that nobody told of.
        attempts: how often an event is tried before its stream is parked; the delay between them doubles,
            from the first to the longest.
    """

    poll: float = 0.5
    attempts: int = 5
    first_delay: float = 0.1
    longest_delay: float = 5.0


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """A host's code that reacts to events: sends a mail, drops a cache entry, calls a webhook.

    It gets each event at least once, those of one stream in order. What it raises, or a time-out, makes it get the
    event again, and in the end parks the event's stream.

    Attributes:
        name: what it is tracked under, for ever.
        since: what a new handler begins with: the ``first`` event of the ledger, or what is committed from ``now`` on.
        timeout: seconds that one call may take.
    """

    name: str
    handle: Callable[[Fact], Awaitable[None]]
    since: Literal["first", "now"]
    timeout: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.since not in {"first", "now"}:
            raise ValueError(f"since: must be 'first' or 'now', not {self.since!r}")
        if self.timeout <= 0:
            raise ValueError("timeout: must be more than 0 seconds")


class SubscriptionStatus(msgspec.Struct, frozen=True):
    """How a subscription does.

    Attributes:
        position: of the last event that it is done with.
        lag: how many positions it is behind the ledger's end.
        parked: how many streams it has parked.
    """

    name: str
    position: int
    lag: int
    parked: int


class SubscriptionStoppedError(Exception):
    """The subscription does not follow any more."""


class Subscription(ABC):
    """Follows the ledger in order of position, page by page, from where it stands.

    An event that fails is tried again, later each time, and then its stream is parked: its later events are passed over
    until somebody asks for a retry, which gives them out in order. The other streams go on.
    """

    def __init__(self, name: str, tracking: Tracking, ledger_log: LedgerLog, settings: SubscriptionSettings) -> None:
        self.name = name
        self._tracking = tracking
        self._log = ledger_log
        self._settings = settings
        self._position = 0
        self._failures = 0
        self._news = asyncio.Event()
        self._is_awaited = asyncio.Event()
        self._began_at = 0.0
        self._closing = asyncio.Event()
        self._moved = asyncio.Event()
        self._turn = asyncio.Lock()
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self._end: Exception | None = None

    # What a host asks

    @property
    def position(self) -> int:
        """The last position that this process knows it to be done with."""
        return self._position

    async def caught_up(self, position: int | None = None, timeout: float = 10.0) -> None:
        """Wait until it is done with everything up to a position: the end of the ledger, if none is given.

        What was parked counts as done.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds.
            SubscriptionStoppedError: it does not follow any more.
        """
        async with asyncio.timeout(timeout):
            wanted = await self._log.head() if position is None else position
            while self._position < wanted:
                self._is_awaited.set()
                await self._next_move()
                if self._at_rest.is_set():  # another node follows
                    self._went_to(self._resume_at((await self._tracking.standing(self.name)).position))

    async def status(self) -> SubscriptionStatus:
        """How it does."""
        standing = await self._tracking.standing(self.name)
        position = self._resume_at(standing.position)
        lag = max(0, await self._log.head() - position)
        return SubscriptionStatus(self.name, position, lag, await self._tracking.count_parked(self.name))

    async def parked(self, limit: int = 100) -> list[ParkedStream]:
        """The streams that it has parked, oldest failure first."""
        return await self._tracking.parked(self.name, limit)

    async def retry(self, stream_id: UUID, timeout: float = 30.0) -> bool:
        """Give a parked stream's events out again, in order; whether that ended well, and it is not parked any more.

        Raises:
            LookupError: the stream is not parked.
            TimeoutError: it took longer than ``timeout`` seconds. It is retried all the same.
            SubscriptionStoppedError: the subscription does not follow any more.
        """
        if not await self._tracking.request_retry(self.name, stream_id):
            raise LookupError(f"{self.name} has not parked {stream_id}")
        self._is_awaited.set()
        self.wake()
        async with asyncio.timeout(timeout):
            while (parked := await self._tracking.parked_stream(self.name, stream_id)) and parked.is_to_be_retried:
                await self._next_move()
        return parked is None

    # What bootstrap does with it

    @abstractmethod
    async def begin(self) -> None:
        """Find out where it stands, before anything else."""

    def wake(self) -> None:
        """There may be news."""
        self._news.set()

    def close(self) -> None:
        """Go no further than the event at hand."""
        self._end = self._end or SubscriptionStoppedError(self.name)
        for event in (self._closing, self._is_awaited, self._news):
            event.set()
        self._tell()

    async def until_at_rest(self) -> None:
        """Until it does not follow, at least not on this node."""
        await self._at_rest.wait()

    async def follow(self) -> None:
        """Follow until closed, whatever fails. Of several nodes one does, and where it ends another goes on."""
        self._at_rest.clear()
        try:
            while not self._closing.is_set():
                self._news.clear()
                self._is_awaited.clear()
                self._began_at = asyncio.get_running_loop().time()
                if not await self._try_to_advance():
                    await self._wait_for_news()
        except SupersededError as error:
            log.error("subscription %s ends: another version of it has taken over", self.name)  # noqa: TRY400
            self._end = error
        finally:
            self._at_rest.set()
            self._tell()

    async def _try_to_advance(self) -> bool:
        try:
            async with self._turn:
                return await self._advance()
        except SupersededError:
            raise
        except StorageUnavailableError:
            log.warning("subscription %s waits: the store is in trouble", self.name)
        except ClosedError:
            log.info("subscription %s waits: it uses what is being closed", self.name)
        except Exception as error:  # noqa: BLE001 - it has nobody else to tell, and it has to go on
            log.critical("subscription %s begins again: %s", self.name, describe(error))
        finally:
            self._tell()
        await _wait(self._closing, self._settings.poll)
        return True

    async def _advance(self) -> bool:
        """Retry what is to be retried, then do one page; whether there may be another."""
        standing = await self._tracking.standing(self.name)
        self._went_to(self._resume_at(standing.position))
        for parked in standing.retries:
            await self._retry(parked)
        page = await self._log.page(self._position)
        await self._work_through(page)
        return page.is_full

    @abstractmethod
    def _resume_at(self, tracked: int) -> int:
        """Where to go on, given what is on record."""

    async def _work_through(self, page: LogPage) -> None:
        while self._position < page.end and not self._closing.is_set():
            moved_to = await self._step(page)
            if moved_to < self._position:
                return
            self._went_to(moved_to)

    @abstractmethod
    async def _step(self, page: LogPage) -> int:
        """Do some of what a page has after the position; the position then. A lower one: begin with another page."""

    def _went_to(self, position: int) -> None:
        if position != self._position:
            self._position, self._failures = position, 0
            self._tell()

    # Failures

    async def _failed(self, delivery: Delivery, failed: EffectFailedError) -> int:
        """What follows when the next event fails: a pause, or its stream is parked. The position then."""
        error = failed.__cause__ or failed
        self._failures += 1
        log.warning("subscription %s failed at position %d: %s", self.name, delivery.position, describe(error))
        if self._failures < self._settings.attempts:
            delay = self._settings.first_delay * 2 ** (self._failures - 1)
            await _wait(self._closing, min(delay, self._settings.longest_delay))
            return self._position
        log.error("subscription %s parks stream %s", self.name, delivery.stream_id)
        return await self._tracking.park(self.name, self._position, delivery, type(error).__name__)

    async def _retry(self, parked: ParkedStream) -> None:
        """The events of a parked stream in order, until one fails or there are no more."""
        left: ParkedStream | None = parked
        while left is not None and not self._closing.is_set():
            delivery = await self._log.event(left.stream_id, left.version)
            try:
                left = await self._do_parked(left, delivery)
            except EffectFailedError as failed:
                error = failed.__cause__ or failed
                log.warning("subscription %s failed at position %d: %s", self.name, left.position, describe(error))
                await self._tracking.retry_failed(left, type(error).__name__)
                return

    @abstractmethod
    async def _do_parked(self, parked: ParkedStream, delivery: Delivery) -> ParkedStream | None:
        """Do a parked stream's first event; what is left parked then."""

    # Waiting

    async def _wait_for_news(self) -> None:
        await _wait(self._news, self._settings.poll)
        elapsed = asyncio.get_running_loop().time() - self._began_at
        if elapsed < PACE:
            await _wait(self._is_awaited, PACE - elapsed)

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def _next_move(self) -> None:
        if self._end is not None:
            raise SubscriptionStoppedError(self.name) from self._end
        await _wait(self._moved, self._settings.poll)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class ProjectionSubscription(Subscription):
    """Has a projection follow. Each event counts exactly once in it."""

    def __init__(
        self, projection: TrackedProjection, tracking: Tracking, ledger_log: LedgerLog, settings: SubscriptionSettings
    ) -> None:
        super().__init__(projection.name, tracking, ledger_log, settings)
        self._projection = projection
        self._one_by_one_to = 0

    async def begin(self) -> None:
        """Prepare its tables, and find out where it stands.

        Raises:
            EffectFailedError: its own code failed.
            StorageUnavailableError: the store is in trouble.
        """
        self._position = await self._projection.begin()

    async def rebuild(self) -> None:
        """Empty it and have it follow again from the first event on. :meth:`caught_up` tells when it is whole again.

        Raises:
            EffectFailedError: its own code failed; nothing was changed.
            SubscriptionStoppedError: another version of it has taken over.
            StorageUnavailableError: the store is in trouble; nothing was changed.
        """
        async with self._turn:
            try:
                await self._projection.restart()
            except SupersededError as error:
                raise SubscriptionStoppedError(self.name) from error
            self._went_to(0)
            self._one_by_one_to = 0
        self.wake()

    def _resume_at(self, tracked: int) -> int:
        return tracked

    async def _step(self, page: LogPage) -> int:
        """One transaction. Where one of its events fails, those that are left of the page get one each."""
        deliveries, end = page.after(self._position), page.end
        if deliveries and self._position < self._one_by_one_to:
            deliveries, end = deliveries[:1], deliveries[0].position
        try:
            return await self._projection.project(self._position, deliveries, end)
        except EffectFailedError as failed:
            if len(deliveries) > 1:
                self._one_by_one_to = page.end
                return self._position
            moved_to = await self._failed(deliveries[0], failed)
            if moved_to != self._position:
                self._one_by_one_to = 0
            return moved_to

    async def _do_parked(self, parked: ParkedStream, delivery: Delivery) -> ParkedStream | None:
        return await self._projection.project_parked(parked, delivery)


class HandlerSubscription(Subscription):
    """Has a handler follow. It gets each event at least once."""

    def __init__(
        self, handler: Handler, tracking: Tracking, ledger_log: LedgerLog, settings: SubscriptionSettings
    ) -> None:
        super().__init__(handler.name, tracking, ledger_log, settings)
        self._handler = handler
        self._parked: set[UUID] = set()
        self._saved = 0
        self._saved_at = 0.0

    async def begin(self) -> None:
        """Find out where it stands.

        Raises:
            StorageUnavailableError: the store is in trouble.
        """
        first = 0 if self._handler.since == "first" else await self._log.head()
        self._position = self._saved = await self._tracking.begin(self.name, first)

    def _resume_at(self, tracked: int) -> int:
        return max(tracked, self._position)

    async def _work_through(self, page: LogPage) -> None:
        self._parked = await self._tracking.parked_among(self.name, page.stream_ids)
        try:
            await super()._work_through(page)
        finally:
            await self._save()

    async def _step(self, page: LogPage) -> int:
        """One event."""
        deliveries = page.after(self._position, 1)
        if not deliveries:
            return page.end
        delivery = deliveries[0]
        if delivery.stream_id in self._parked:
            return delivery.position
        if asyncio.get_running_loop().time() - self._saved_at > SAVE_INTERVAL:
            await self._save()
        try:
            await self._call(delivery)
        except EffectFailedError as failed:
            await self._save()
            moved_to = await self._failed(delivery, failed)
            self._parked = await self._tracking.parked_among(self.name, page.stream_ids)
            return moved_to
        return delivery.position

    async def _call(self, delivery: Delivery) -> None:
        """Have one event handled.

        Raises:
            EffectFailedError: it was not.
        """
        try:
            async with asyncio.timeout(self._handler.timeout):
                await self._handler.handle(delivery.fact())
        except (ClosedError, StorageUnavailableError):
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise EffectFailedError from error
        except Exception as error:
            raise EffectFailedError from error

    async def _save(self) -> None:
        if self._position > self._saved:
            position = self._position
            await self._tracking.move(self.name, position)
            self._saved, self._saved_at = position, asyncio.get_running_loop().time()

    async def _do_parked(self, parked: ParkedStream, delivery: Delivery) -> ParkedStream | None:
        await self._call(delivery)
        await self._save()
        return await self._tracking.done_with(parked)
