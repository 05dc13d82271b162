"""One message, and the facts that it is made of."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, rfc3339
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.files import signed_links
from chatledger.adapters.http.objects import MessageObject, message_object
from chatledger.adapters.http.openapi import AS_OF_PARAMETER, LIMIT_PARAMETER, USER_PARAMETER, Operation, Parameter
from chatledger.adapters.http.reading import Query, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE
from chatledger.application.caller import Reader
from chatledger.application.context import Actor
from chatledger.application.disclosure import event_data
from chatledger.application.ledger.envelope import Fact
from chatledger.domain.events import REGISTRY

_CURSOR_PREFIX = "v"


class MessageDetailObject(MessageObject, frozen=True, kw_only=True):
    """A message with the version of its stream, and the other messages with the same parent."""

    version: int
    siblings: Sequence[UUID]


class EventObject(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is on the ledger. Times are RFC 3339 in UTC."""

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


_READ = Operation(
    tag="Ledger",
    summary="Read one message",
    credential="reader",
    parameters=(USER_PARAMETER, AS_OF_PARAMETER),
    answers={200: MessageDetailObject},
    errors=(400, 404, 410),
)
_EVENTS = Operation(
    tag="Ledger",
    summary="Read the events of a message",
    description="An app's key is not shown what is its operator's: the generator's parameters, and hidden passages.",
    credential="reader",
    parameters=(
        USER_PARAMETER,
        LIMIT_PARAMETER,
        Parameter("cursor", "Where the page before ended."),
    ),
    answers={200: EventPage},
    errors=(400, 404, 410),
)


def message_detail_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application = surface.application

    @get(f"{entrance.prefix}/messages/{{message_id:uuid}}", opt=entrance.documented(_READ))
    async def read_message(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, message_id)
        query = Query(request)
        reader = await entrance.admit_reader(request, query)
        detail = await application.history.detail(reader, message_id, query.as_of())
        fields = msgspec.structs.asdict(message_object(detail.message, reader, signed_links(surface, request)))
        return answer(request, MessageDetailObject(**fields, version=detail.version, siblings=detail.siblings))

    @get(f"{entrance.prefix}/messages/{{message_id:uuid}}/events", opt=entrance.documented(_EVENTS))
    async def list_events(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, message_id)
        query = Query(request)
        reader = await entrance.admit_reader(request, query)
        limit, after = query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE), _after(query.text("cursor"))
        await application.history.message(reader, message_id)
        facts, has_more = await application.facts.stream(message_id, after, limit)
        cursor = f"{_CURSOR_PREFIX}{facts[-1].envelope.version}" if has_more else None
        return answer(request, EventPage([_event_object(reader, fact) for fact in facts], has_more, cursor))

    return read_message, list_events


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    version = cursor.removeprefix(_CURSOR_PREFIX)
    if cursor == version or not version.isascii() or not version.isdigit() or len(version) > 18:
        raise invalid("cursor", "cursor must come from an earlier page")
    return int(version)


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
        data=event_data(reader, envelope.body),
    )
