"""Orders about the endpoints of webhooks."""

from typing import TYPE_CHECKING, Literal, TypeAlias
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from chatledger.application.application import Application
    from chatledger.application.context import Context


class AddEndpoint(msgspec.Struct, frozen=True, kw_only=True, tag="webhooks add"):
    """Have an endpoint told of events; without an app of those of all apps, without types of all of them."""

    url: str
    app_id: UUID | None = None
    types: tuple[str, ...] = ()
    secret: str | None = None
    after: str | None = "now"

    def __repr__(self) -> str:
        """Without the secret."""
        return "AddEndpoint()"


class ChangeEndpoint(msgspec.Struct, frozen=True, tag="webhooks change"):
    """Remove an endpoint, or have it told nothing for now, or told again."""

    endpoint_id: UUID
    to: Literal["removed", "disabled", "enabled"]


class RotateSecret(msgspec.Struct, frozen=True, kw_only=True, tag="webhooks rotate-secret"):
    """Sign with another secret; the one so far signs too for ``overlap`` seconds, or for as long as is usual."""

    endpoint_id: UUID
    secret: str | None = None
    overlap: float | None = None

    def __repr__(self) -> str:
        """Without the secret."""
        return f"RotateSecret({self.endpoint_id})"


class TryEndpoint(msgspec.Struct, frozen=True, tag="webhooks test"):
    """Send an endpoint an event that is none of the ledger."""

    endpoint_id: UUID


class ReplayEndpoint(msgspec.Struct, frozen=True, kw_only=True, tag="webhooks replay"):
    """Tell an endpoint again: everything after a cursor, or with ``dead_letters`` those of these positions, or all."""

    endpoint_id: UUID
    after: str | None = None
    dead_letters: bool = False
    positions: tuple[int, ...] = ()


WebhookOrder: TypeAlias = AddEndpoint | ChangeEndpoint | RotateSecret | TryEndpoint | ReplayEndpoint


class EndpointAdded(msgspec.Struct, frozen=True):
    """A new endpoint, and the only showing of its secret."""

    endpoint_id: UUID
    secret: str


class EndpointChanged(msgspec.Struct, frozen=True):
    """What an endpoint is from here on."""

    endpoint_id: UUID
    is_now: str


class EndpointTried(msgspec.Struct, frozen=True):
    """Whether a trial was taken; the status, or why there was none."""

    endpoint_id: UUID
    is_success: bool
    outcome: str


class EndpointReplayed(msgspec.Struct, frozen=True):
    """How many dead letters are tried again; None where everything after a place is told again."""

    endpoint_id: UUID
    dead_letters: int | None


async def carry_out(application: "Application", order: WebhookOrder, context: "Context") -> msgspec.Struct:
    """Do it; what came of it.

    Raises:
        ApplicationError: the order was refused; nothing was changed.
        StorageUnavailableError: the store is in trouble; nothing was changed.
    """
    webhooks = application.webhooks
    match order:
        case AddEndpoint():
            added = await webhooks.register(
                order.url, context, app_id=order.app_id, types=order.types, secret=order.secret, after=order.after
            )
            return EndpointAdded(added.endpoint_id, added.secret)
        case ChangeEndpoint():
            change = {"removed": webhooks.remove, "disabled": webhooks.disable, "enabled": webhooks.enable}[order.to]
            await change(order.endpoint_id, context)
            return EndpointChanged(order.endpoint_id, order.to)
        case RotateSecret():
            overlap = {} if order.overlap is None else {"overlap": order.overlap}
            secret = await webhooks.rotate_secret(order.endpoint_id, context, secret=order.secret, **overlap)
            return EndpointAdded(order.endpoint_id, secret)
        case TryEndpoint():
            tried = await webhooks.test(order.endpoint_id)
            return EndpointTried(order.endpoint_id, tried.is_success, tried.outcome)
        case ReplayEndpoint():
            return await _replay(application, order, context)


async def _replay(application: "Application", order: ReplayEndpoint, context: "Context") -> EndpointReplayed:
    webhooks = application.webhooks
    if not order.dead_letters:
        await webhooks.replay(order.endpoint_id, order.after, context)
        return EndpointReplayed(order.endpoint_id, None)
    count = await webhooks.replay_dead_letters(order.endpoint_id, context, order.positions or None)
    return EndpointReplayed(order.endpoint_id, count)
