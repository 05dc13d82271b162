"""Who did it and why: what every event of one hand-in has in common."""

from typing import Literal
from uuid import UUID

import msgspec

ActorKind = Literal["end_user", "api_key", "operator", "worker", "system"]


class Actor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose doing an event is. ``id`` is an id of ours, never a name that a person chose."""

    kind: ActorKind
    id: str = ""


SYSTEM = Actor("system")

OPERATOR = Actor("operator")
"""Whoever runs the process."""


class Context(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The metadata of a hand-in; stored once with its first event.

    Attributes:
        correlation_id: the request that began it all.
        causation_id: the event that this is a reaction to.
        trace: a W3C ``traceparent`` or a caller's trace id.
    """

    actor: Actor
    correlation_id: UUID
    causation_id: UUID | None = None
    app_id: UUID | None = None
    trace: str | None = None
