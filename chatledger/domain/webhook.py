"""A webhook: a URL that is told of what happens."""

from collections.abc import Sequence
from typing import assert_never
from uuid import UUID

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.events import EndpointRegistered, EndpointRemoved, WebhookEvent


class Webhook(Aggregate[WebhookEvent]):
    """One endpoint, what it is told of, and whether it still is."""

    registered: EndpointRegistered

    def __init__(self, aggregate_id: UUID) -> None:
        super().__init__(aggregate_id)
        self.is_removed = False

    @classmethod
    def register(
        cls, endpoint_id: UUID, *, app_id: UUID | None, types: Sequence[str], after: int, url: str, secret: str
    ) -> "Webhook":
        """Begin to tell it of the events after a position."""
        webhook = cls(endpoint_id)
        webhook._record(
            EndpointRegistered(app_id=app_id, types=tuple(sorted(set(types))), after=after, url=url, secret=secret)
        )
        return webhook

    def remove(self) -> None:
        """Tell it nothing any more. Doing so again changes nothing."""
        if not self.is_removed:
            self._record(EndpointRemoved())

    def apply(self, body: WebhookEvent) -> None:
        """Fold one event into the state."""
        match body:
            case EndpointRegistered():
                self.registered = body
            case EndpointRemoved():
                self.is_removed = True
            case _:
                assert_never(body)
