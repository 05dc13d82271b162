"""What the events of webhooks change."""

from collections.abc import Sequence
from typing import assert_never

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.projected.sealing import Sealing
from chatledger.application.ledger.sealed_rows import WebhookContent
from chatledger.application.ports.storage import Change, Delete, Insert
from chatledger.domain.events import EndpointRegistered, EndpointRemoved, WebhookEvent


class WebhookChanges:
    """From an event of a webhook to the changes that it makes."""

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing

    def changes(self, envelope: Envelope, body: WebhookEvent) -> Sequence[Change]:
        """What an event changes."""
        match body:
            case EndpointRegistered():
                return (self._endpoint_registered(envelope, body),)
            case EndpointRemoved():
                return (Delete("webhooks", {"endpoint_id": envelope.stream_id}),)
            case _:
                assert_never(body)

    def _endpoint_registered(self, envelope: Envelope, body: EndpointRegistered) -> Change:
        row = {
            "endpoint_id": envelope.stream_id,
            "app_id": body.app_id,
            "key_id": envelope.key_id,
            "position": envelope.position,
            "created_at": envelope.recorded_at,
            "types": ",".join(body.types),
            "after": body.after,
            "content": self._sealing.seal(envelope, WebhookContent(body.url, body.secret), envelope.stream_id),
        }
        return Insert("webhooks", row)
