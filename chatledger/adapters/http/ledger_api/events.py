"""The facts that a message or a conversation is made of."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, rfc3339
from chatledger.adapters.http.cursors import number_after
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.openapi import LIMIT_PARAMETER, USER_PARAMETER, Operation, Parameter
from chatledger.adapters.http.reading import Query, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE
from chatledger.application.caller import Reader
from chatledger.application.context import Actor
from chatledger.application.disclosure import event_data
from chatledger.application.ledger.envelope import Fact
from chatledger.domain.events import REGISTRY

_VERSION, _POSITION = "v", "p"
"""What the cursors begin with: in the events of a message it is versions that count, else positions."""


class EventObject(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is on the ledger. Times are RFC 3339 in UTC. Of one that was erased ``data`` is what is public."""

    position: int
    version: int
    id: UUID
    type: str
    schema: int
    at: str
    actor: Actor
    correlation_id: UUID
    causation_id: UUID | None
    data: Any


class EventPage(msgspec.Struct, frozen=True):
    """A page of events, oldest first. ``cursor`` leads to the next page, null where there is none."""

    data: Sequence[EventObject]
    has_more: bool
    cursor: str | None


_CURSOR_PARAMETER = Parameter("cursor", "Where the page before ended.")
_OF_MESSAGE = Operation(
    tag="Ledger",
    summary="Read the events of a message",
    description="An app's key is not shown what is its operator's: the generator's parameters, and hidden passages.",
    credential="reader",
    parameters=(USER_PARAMETER, LIMIT_PARAMETER, _CURSOR_PARAMETER),
    answers={200: EventPage},
    errors=(400, 404),
)
_OF_CONVERSATION = Operation(
    tag="Ledger",
    summary="Read the events of a conversation and its messages",
    description=(
        "In the order of the ledger. An app's key is not shown what is its operator's: the generator's parameters, and "
        "hidden passages. Those of a deleted conversation are there for operators alone."
    ),
    credential="reader",
    parameters=(USER_PARAMETER, LIMIT_PARAMETER, _CURSOR_PARAMETER),
    answers={200: EventPage},
    errors=(400, 404),
)


def event_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    facts = surface.application.facts

    @get(f"{entrance.prefix}/messages/{{message_id:uuid}}/events", opt=entrance.documented(_OF_MESSAGE))
    async def list_message_events(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, message_id)
        query = Query(request)
        reader = await entrance.admit_reader(request, query)
        limit, after = query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE), _after(query, _VERSION)
        found, has_more = await facts.of_message(reader, message_id, after, limit)
        cursor = f"{_VERSION}{found[-1].envelope.version}" if has_more else None
        return answer(request, _page(reader, found, cursor))

    @get(f"{entrance.prefix}/conversations/{{conversation_id:uuid}}/events", opt=entrance.documented(_OF_CONVERSATION))
    async def list_conversation_events(request: HttpRequest, conversation_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, conversation_id)
        query = Query(request)
        reader = await entrance.admit_reader(request, query)
        limit, after = query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE), _after(query, _POSITION)
        found, has_more = await facts.of_conversation(reader, conversation_id, after, limit)
        cursor = f"{_POSITION}{found[-1].envelope.position}" if has_more else None
        return answer(request, _page(reader, found, cursor))

    return list_message_events, list_conversation_events


def _after(query: Query, kind: str) -> int:
    return number_after(query.text("cursor"), kind) or 0


def _page(reader: Reader, facts: Sequence[Fact], cursor: str | None) -> EventPage:
    return EventPage([_event_object(reader, fact) for fact in facts], cursor is not None, cursor)


def _event_object(reader: Reader, fact: Fact) -> EventObject:
    envelope, context = fact.envelope, fact.context
    event_type = REGISTRY.of(type(envelope.body))
    return EventObject(
        position=envelope.position,
        version=envelope.version,
        id=envelope.event_id,
        type=event_type.name,
        schema=event_type.schema,
        at=rfc3339(envelope.recorded_at),
        actor=context.actor,
        correlation_id=context.correlation_id,
        causation_id=context.causation_id,
        data=event_data(reader, envelope),
    )
