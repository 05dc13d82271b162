"""A webhook: a URL that is told of what happens."""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never
from uuid import UUID

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.errors import EndpointRemovedError
from chatledger.domain.events import (
    EndpointDisabled,
    EndpointEnabled,
    EndpointRegistered,
    EndpointRemoved,
    EndpointSecretRotated,
    WebhookEvent,
)
from chatledger.domain.values import DisabledFor


class Webhook(Aggregate[WebhookEvent]):
    """One endpoint, what it is told of, and whether it still is.

    Attributes:
        secret: what signs, beside the previous one while that is still in force.
        disabled_for: why it is told nothing for now; None where it is.
    """

    registered: EndpointRegistered
    secret: str

    def __init__(self, aggregate_id: UUID) -> None:
        super().__init__(aggregate_id)
        self.disabled_for: DisabledFor | None = None
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

    def rotate_secret(self, secret: str, previous_until: datetime) -> None:
        """Sign with another secret, and until a time with the one so far too.

        Raises:
            EndpointRemovedError: it is removed.
        """
        self._require_there()
        self._record(EndpointSecretRotated(previous_until=previous_until, secret=secret, previous=self.secret))

    def disable(self, cause: DisabledFor) -> None:
        """Tell it nothing for now. Doing so again changes nothing.

        Raises:
            EndpointRemovedError: it is removed.
        """
        self._require_there()
        if self.disabled_for is None:
            self._record(EndpointDisabled(cause=cause))

    def enable(self) -> None:
        """Tell it again. Doing so again changes nothing.

        Raises:
            EndpointRemovedError: it is removed.
        """
        self._require_there()
        if self.disabled_for is not None:
            self._record(EndpointEnabled())

    def remove(self) -> None:
        """Tell it nothing any more. Doing so again changes nothing."""
        if not self.is_removed:
            self._record(EndpointRemoved())

    def _require_there(self) -> None:
        if self.is_removed:
            raise EndpointRemovedError

    def apply(self, body: WebhookEvent) -> None:
        """Fold one event into the state."""
        match body:
            case EndpointRegistered():
                self.registered = body
                self.secret = body.secret
            case EndpointSecretRotated():
                self.secret = body.secret
            case EndpointDisabled():
                self.disabled_for = body.cause
            case EndpointEnabled():
                self.disabled_for = None
            case EndpointRemoved():
                self.is_removed = True
            case _:
                assert_never(body)
