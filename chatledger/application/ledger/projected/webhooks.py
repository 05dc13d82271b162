"""What the events of webhooks change."""

from collections.abc import Sequence
from typing import Any, assert_never

from chatledger.application.ledger.envelope import Envelope, to_microseconds
from chatledger.application.ledger.projected.sealing import Sealing
from chatledger.application.ledger.sealed_rows import WebhookSecrets, WebhookUrl
from chatledger.application.ports.storage import Change, Delete, Insert, Update
from chatledger.domain.events import (
    EndpointDisabled,
    EndpointEnabled,
    EndpointRegistered,
    EndpointRemoved,
    EndpointSecretRotated,
    WebhookEvent,
)


class WebhookChanges:
    """From an event of a webhook to the changes that it makes."""

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing

    def changes(self, envelope: Envelope, body: WebhookEvent) -> Sequence[Change]:
        """What an event changes."""
        match body:
            case EndpointRegistered():
                return (self._endpoint_registered(envelope, body),)
            case EndpointSecretRotated():
                secrets = WebhookSecrets(body.secret, body.previous, to_microseconds(body.previous_until))
                return (_endpoint(envelope, {"secrets": self._sealing.seal(envelope, secrets, envelope.stream_id)}),)
            case EndpointDisabled():
                return (_endpoint(envelope, {"disabled_for": body.cause}),)
            case EndpointEnabled():
                return (_endpoint(envelope, {"disabled_for": None}),)
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
            "url": self._sealing.seal(envelope, WebhookUrl(body.url), envelope.stream_id),
            "secrets": self._sealing.seal(envelope, WebhookSecrets(body.secret), envelope.stream_id),
        }
        return Insert("webhooks", row)


def _endpoint(envelope: Envelope, values: dict[str, Any]) -> Change:
    return Update("webhooks", {"endpoint_id": envelope.stream_id}, values)
