"""The resumable stream of a message: running, finished, or a year old."""

from collections.abc import Sequence
from uuid import UUID

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest
from chatledger.adapters.http.disclosure import shows_resources
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.files import Link, stable_links
from chatledger.adapters.http.openapi import EVENT_STREAM, USER_PARAMETER, Operation, Parameter
from chatledger.adapters.http.reading import Query, header, require_plain_path
from chatledger.adapters.http.rendering import Rendering
from chatledger.adapters.http.sse import EventStream, Resumption, frames
from chatledger.adapters.http.surface import Place, Surface
from chatledger.application.caller import Reader
from chatledger.application.queries.following import require_recorded, unknown_point

_FOLLOW = Operation(
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
        Parameter("Last-Event-ID", "The same as `after`, and before it.", where="header"),
    ),
    answers={200: EVENT_STREAM},
    errors=(400, 404, 410),
)


def stream_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handler."""

    @get(f"{entrance.prefix}/messages/{{message_id:uuid}}/stream", opt=entrance.documented(_FOLLOW))
    async def follow_message(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, message_id)
        query = Query(request)
        reader = await entrance.admit_reader(request, query)
        after = _read_after(message_id, header(request, b"last-event-id") or query.text("after"))
        await surface.application.history.message(reader, message_id)
        surface.require_open()
        place = surface.take_place()
        try:
            return await _follow(surface, request, reader, message_id, after, place, stable_links(entrance.prefix))
        except BaseException:
            place.leave()
            raise

    return (follow_message,)


async def _follow(
    surface: Surface, request: HttpRequest, reader: Reader, message_id: UUID, after: int, place: Place, link: Link
) -> EventStream:
    """Read what there is before the answer begins, so that a point beyond the end can still be refused."""
    follower = surface.application.following.follow(message_id)
    try:
        batches = follower.batches()
        recorded = await anext(batches)
        require_recorded(after, follower.version)
        place.wait_for(recorded[0])
        rendering = Rendering(
            message_id, recorded[0], shows_resources=shows_resources(reader), gives_ids=True, link=link
        )
        resumption = Resumption(recorded, after)
        return EventStream(request, rendering, frames(surface, rendering, batches, resumption), follower, place)
    except BaseException:
        follower.close()
        raise


def _read_after(message_id: UUID, given: str | None) -> int:
    """The version after which to go on."""
    if given is None:
        return 0
    stream, colon, version = given.rpartition(":")
    if (colon and stream != str(message_id)) or not version.isascii() or not version.isdigit() or len(version) > 18:
        raise unknown_point()
    return int(version)
