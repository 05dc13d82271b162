"""What endpoints are told: the events of apps, each as its own app's key would see it."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from chatledger.application.caller import Caller
from chatledger.application.cloud_events import CloudEvent, cloud_event
from chatledger.application.disclosure import event_data
from chatledger.application.ledger.log import LogPage
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.tracking import Delivery
from chatledger.application.ports.webhooks import Endpoint
from chatledger.application.queries.directory import AppDirectory
from chatledger.application.queries.feed import APPS_OWN, Feed
from chatledger.domain.events import REGISTRY
from chatledger.domain.values import NIL_UUID


class ToTell(msgspec.Struct, frozen=True):
    """An event that an endpoint is to be told of, and what it is ordered within."""

    position: int
    order_id: UUID


class UnreadableError(Exception):
    """This release cannot read the event; the text is the type of what it was kept from it by."""


class Telling:
    """Chooses and writes. Nothing of what an event says is kept: it is read when it is sent, as it can be read then."""

    def __init__(self, feed: Feed, directory: AppDirectory) -> None:
        self._feed = feed
        self._directory = directory

    async def after(self, position: int) -> LogPage:
        """What follows a position, read once for all endpoints that stand there.

        Raises:
            StorageUnavailableError: the store, or the key store, is in trouble.
        """
        return await self._feed.read(position)

    async def chosen(self, endpoint: Endpoint, read: LogPage) -> Sequence[ToTell]:
        """Those events of a page that an endpoint is to be told of."""
        wanted = [delivery for delivery in read.deliveries if _is_wanted(endpoint, delivery)]
        origins = await self._feed.origins.of(delivery.stream_id for delivery in wanted)
        chosen = []
        for delivery in wanted:
            origin = origins[delivery.stream_id]
            if origin.app_id is not None and endpoint.app_id in {None, origin.app_id}:
                chosen.append(ToTell(delivery.position, origin.order_id))
        return chosen

    async def event_at(self, position: int) -> CloudEvent:
        """An event that was chosen.

        Raises:
            UnreadableError: it cannot be read.
            StorageUnavailableError: the store, or the key store, is in trouble.
        """
        delivery = (await self._feed.log.page(position - 1, 1)).deliveries[0]
        try:
            fact = delivery.fact()
        except StorageUnavailableError:
            raise
        except Exception as error:
            raise UnreadableError(type(error).__name__) from error
        app_id = (await self._feed.origins.of([delivery.stream_id]))[delivery.stream_id].app_id
        if app_id is None:
            raise UnreadableError("NoApp")
        reader = Caller(app=await self._directory.app(app_id), user=None, correlation_id=NIL_UUID)
        return cloud_event(self._feed.source, fact, app_id, event_data(reader, fact.envelope))


def _is_wanted(endpoint: Endpoint, delivery: Delivery) -> bool:
    """Whether it may be for the endpoint. What cannot be read may be of any type: somebody has to look at it."""
    if isinstance(delivery.content, Exception):
        return True
    envelope = delivery.content.envelope
    is_chosen = not endpoint.types or REGISTRY.of(type(envelope.body)).name in endpoint.types
    return is_chosen and envelope.category in APPS_OWN
