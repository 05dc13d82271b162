"""The resumable streams: of a message, running, finished, or a year old; and of a conversation."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest
from chatledger.adapters.http.conversation_rendering import ConversationRendering
from chatledger.adapters.http.cursors import whole_number
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.files import stable_links
from chatledger.adapters.http.openapi import EVENT_STREAM, USER_PARAMETER, Operation, Parameter
from chatledger.adapters.http.reading import Query, header, require_plain_path
from chatledger.adapters.http.rendering import Rendering
from chatledger.adapters.http.sse import Renderer, open_stream
from chatledger.adapters.http.surface import Place, Surface
from chatledger.application.disclosure import shows_resources
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.queries.listening import unknown_point

_LAST_EVENT_ID = Parameter("Last-Event-ID", "The same as `after`, and before it.", where="header")
_FOLLOW_MESSAGE = Operation(
    tag="Ledger",
    summary="Follow a message, from any point on",
    description=(
        "The event stream of the message with `id:` lines, the same bytes each time (pings aside). It ends with the "
        "generation; for a message that has ended it is a replay."
    ),
    credential="reader",
    parameters=(
        USER_PARAMETER,
        Parameter("after", "A version, or an id that the stream gave: what comes after it."),
        _LAST_EVENT_ID,
    ),
    answers={200: EVENT_STREAM},
    errors=(400, 404, 410),
)
_FOLLOW_CONVERSATION = Operation(
    tag="Ledger",
    summary="Follow a conversation, from any point on",
    description=(
        "The event streams of all its messages in one, in the order in which they were recorded, those that are sent "
        "later too; the same bytes each time (pings aside). The `id:` lines are positions on the ledger. It goes on "
        "until the conversation is deleted, and then it is closed. What happens to the conversation itself, such as a "
        "new name, shows nothing."
    ),
    credential="reader",
    parameters=(
        USER_PARAMETER,
        Parameter("after", "A position on the ledger, of this conversation or not: what comes after it."),
        _LAST_EVENT_ID,
    ),
    answers={200: EVENT_STREAM},
    errors=(400, 404, 410),
)


def stream_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application, link = surface.application, stable_links(entrance.prefix)

    @get(f"{entrance.prefix}/messages/{{message_id:uuid}}/stream", opt=entrance.documented(_FOLLOW_MESSAGE))
    async def follow_message(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, message_id)
        query = Query(request)
        reader = await entrance.admit_reader(request, query)
        point = _point(request, query)
        after = _version(message_id, point)
        await application.history.message(reader, message_id)
        follower = application.following.follow(message_id)

        def renderer(place: Place, recorded: Sequence[Envelope]) -> Renderer[Envelope]:
            place.follow(recorded[0], reader)
            return Rendering(
                message_id,
                recorded[0],
                shows_resources=shows_resources(reader),
                gives_ids=True,
                link=link,
                after=after,
            )

        batches = follower.batches(after, whole=True, field=point.field)
        batches = application.reads.followed(reader, batches, "message", message_id)
        return await open_stream(surface, request, follower, batches, renderer)

    @get(
        f"{entrance.prefix}/conversations/{{conversation_id:uuid}}/stream",
        opt=entrance.documented(_FOLLOW_CONVERSATION),
    )
    async def follow_conversation(request: HttpRequest, conversation_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, conversation_id)
        query = Query(request)
        reader = await entrance.admit_reader(request, query)
        point = _point(request, query)
        after = _number(point.value, point.field)
        await application.history.require_conversation(reader, conversation_id)
        follower = application.following.follow_conversation(conversation_id)
        rendering = ConversationRendering(shows_resources=shows_resources(reader), link=link, after=after)
        batches = follower.batches(after, field=point.field)
        batches = application.reads.followed(reader, batches, "conversation", conversation_id)
        return await open_stream(surface, request, follower, batches, lambda *_: rendering)

    return follow_message, follow_conversation


class _Point(NamedTuple):
    """After which point to go on, as the request says it, and the name of what says so."""

    value: str | None
    field: str


def _point(request: HttpRequest, query: Query) -> _Point:
    last_id = header(request, b"last-event-id")
    return _Point(last_id, "Last-Event-ID") if last_id else _Point(query.text("after"), "after")


def _version(message_id: UUID, point: _Point) -> int:
    """The version that an id of the message's stream stands for, or a bare one."""
    stream, colon, version = (point.value or "").rpartition(":")
    if colon and stream != str(message_id):
        raise unknown_point(point.field)
    return _number(version if colon else point.value, point.field)


def _number(given: str | None, field: str) -> int:
    if given is None:
        return 0
    number = whole_number(given)
    if number is None:
        raise unknown_point(field)
    return number
