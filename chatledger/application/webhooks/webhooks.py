"""All webhooks of a running chatledger: a courier for each endpoint, begun, told and ended as endpoints come and go."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from chatledger.application.context import SYSTEM, Context
from chatledger.application.errors import NotFoundError
from chatledger.application.fault_report import describe
from chatledger.application.grace import Grace
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.leases import LeaseLostError
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.webhooks import Deliveries, Endpoint, EndpointViews, RecordChangedError
from chatledger.application.queries.feed import Feed
from chatledger.application.waiting import wait_at_most
from chatledger.application.webhooks.courier import NOT_BEGUN, Courier
from chatledger.domain.errors import EndpointRemovedError
from chatledger.domain.values import DisabledFor
from chatledger.domain.webhook import Webhook

log = logging.getLogger(__name__)

RESTART_PAUSE = 1.0
"""Seconds after which a courier that failed itself begins again."""

LOOK_INTERVAL = 1.0
"""Seconds between two looks for what other nodes have changed."""

NewCourier = Callable[[Endpoint], Courier]


class Webhooks:
    """Runs a courier for each endpoint that is enabled, in a task of its own.

    Args:
        views: the endpoints.
        feed: tells of news.
        deliveries: how far each was told.
        new_courier: makes a courier.
        is_alone: whether no other node may change an endpoint, or what is on record of it.
    """

    def __init__(
        self,
        views: EndpointViews,
        feed: Feed,
        deliveries: Deliveries,
        new_courier: NewCourier,
        *,
        is_alone: bool = True,
    ) -> None:
        self._is_alone = is_alone
        self._views = views
        self._feed = feed
        self._deliveries = deliveries
        self._new_courier = new_courier
        self._running: dict[UUID, tuple[Courier, asyncio.Task[None]]] = {}
        self._holders: Counter[UUID] = Counter()
        self._is_closing = False
        self._changed = asyncio.Event()
        self._has_some = asyncio.Event()

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events."""
        if any(envelope.category == "webhook" for envelope in envelopes):
            self._changed.set()

    async def run(self) -> None:
        """Keep a courier for each endpoint that is enabled, until cancelled; then none is left."""
        try:
            while True:
                self._changed.clear()
                try:
                    if not self._is_alone:
                        await self._end_the_outdated()
                    await self._adjust(await self._views.endpoints())
                except StorageUnavailableError:
                    await asyncio.sleep(RESTART_PAUSE)
                    continue
                if self._is_alone:
                    await self._changed.wait()
                else:
                    await wait_at_most(self._changed, LOOK_INTERVAL)
        finally:
            await self._end(set(self._running))

    async def _end_the_outdated(self) -> None:
        """Another node has changed what is on record: their couriers begin anew from there."""
        revisions = await self._deliveries.revisions()
        await self._end(
            [
                endpoint_id
                for endpoint_id, (courier, _) in self._running.items()
                if NOT_BEGUN < courier.revision < revisions.get(endpoint_id, 0)
            ]
        )

    async def watch(self) -> None:
        """Tell the couriers of what lands; one look for all of them."""
        position = 0
        while True:
            await self._has_some.wait()
            try:
                is_new = await self._feed.news(position)
            except StorageUnavailableError:
                continue
            if is_new:
                position = self._feed.newest
                for courier, _ in self._running.values():
                    courier.news()

    @asynccontextmanager
    async def held(self, endpoint_id: UUID) -> AsyncIterator[None]:
        """Send an endpoint nothing while inside: what is on record of it is changed. It goes on from there."""
        self._holders[endpoint_id] += 1
        try:
            await self._end([endpoint_id])
            yield
        finally:
            self._holders -= Counter([endpoint_id])
            self._changed.set()

    async def _adjust(self, endpoints: Sequence[Endpoint]) -> None:
        wanted = {one.endpoint_id: one for one in endpoints if one.disabled_for is None}
        gone = self._running.keys() - wanted.keys()
        await self._end(gone)
        for endpoint_id in gone - {one.endpoint_id for one in endpoints}:
            await self._deliveries.forget(endpoint_id)
        for endpoint_id, endpoint in wanted.items():
            running = self._running.get(endpoint_id)
            if running is not None and not running[1].done():
                running[0].endpoint = endpoint
            elif not (self._holders[endpoint_id] or self._is_closing):
                self._begin(endpoint)
        if self._running:
            self._has_some.set()
        else:
            self._has_some.clear()

    def _begin(self, endpoint: Endpoint) -> None:
        courier = self._new_courier(endpoint)
        task = asyncio.create_task(_keep_running(courier))
        # One that has disabled its endpoint may have been overtaken by who enables it.
        task.add_done_callback(lambda _: self._changed.set())
        self._running[endpoint.endpoint_id] = courier, task

    async def _end(self, endpoint_ids: Sequence[UUID] | set[UUID]) -> None:
        ended = [self._running.pop(endpoint_id) for endpoint_id in endpoint_ids if endpoint_id in self._running]
        for _, task in ended:
            task.cancel()
        await asyncio.gather(*(task for _, task in ended), return_exceptions=True)

    async def close(self, grace: Grace) -> None:
        """Let what is being sent be sent, within the time of grace, and send nothing more."""
        self._is_closing = True
        tasks = [task for _, task in self._running.values()]
        for courier, _ in self._running.values():
            courier.close()
        if tasks:
            await grace.wait_for(asyncio.wait(tasks))
        await self._end(set(self._running))


async def _keep_running(courier: Courier) -> None:
    while True:
        try:
            return await courier.run()
        except RecordChangedError:
            continue
        except StorageUnavailableError:
            log.warning("webhook %s waits: the store is in trouble", courier.endpoint.endpoint_id)
        except LeaseLostError:
            log.warning("webhook %s waits: another node tells it", courier.endpoint.endpoint_id)
        except Exception as error:  # noqa: BLE001 - it has nobody else to tell, and the endpoint is to be told
            log.critical("webhook %s begins again: %s", courier.endpoint.endpoint_id, describe(error))
        await asyncio.sleep(RESTART_PAUSE)


class Disabling:
    """Disabling an endpoint because of what it does: a fact, as if somebody had done so."""

    def __init__(self, ledger: Ledger, new_id: Callable[[], UUID]) -> None:
        self._ledger = ledger
        self._new_id = new_id

    async def disable(self, endpoint_id: UUID, cause: DisabledFor) -> None:
        """Disable it. One that is gone stays so."""
        log.warning("webhook %s is disabled: %s", endpoint_id, cause)
        context = Context(actor=SYSTEM, correlation_id=self._new_id())

        def decide(staged: Staged[Webhook]) -> None:
            staged.aggregate.disable(cause)

        try:
            await self._ledger.decide(Webhook, endpoint_id, decide, context)
        except (EndpointRemovedError, NotFoundError, LookupError):
            log.info("webhook %s was removed meanwhile", endpoint_id)
