"""More like this: another completion of what was asked before."""

from collections.abc import Sequence
from uuid import UUID

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.message_api.new_message import ResponseMode, read_response_mode
from chatledger.adapters.http.message_api.sending import SEND_PARAMETERS, Accepted, BlockingAnswer, send
from chatledger.adapters.http.openapi import USER_PARAMETER, Operation, Parameter
from chatledger.adapters.http.reading import Query, require_plain_path, trace_id
from chatledger.adapters.http.surface import Surface
from chatledger.application.commands.repeating import require_more_like_this

_MORE_LIKE_THIS = Operation(
    tag="Messages",
    summary="Ask for another completion of the same",
    description="Makes a new message; what the model is set to is bolder where it can be.",
    parameters=(
        Parameter("response_mode", "How to answer.", ResponseMode, required=True),
        USER_PARAMETER,
        *SEND_PARAMETERS,
    ),
    answers={200: BlockingAnswer, 202: Accepted},
    streams=True,
    errors=(400, 403, 404, 410, 422, 429),
)


def more_like_this_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handler."""

    @get(f"{entrance.prefix}/messages/{{message_id:uuid}}/more-like-this", opt=entrance.documented(_MORE_LIKE_THIS))
    async def send_more_like_this(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, message_id)
        visit = await entrance.admit(request)
        query = Query(request)
        caller = visit.by_query(query, trace=trace_id(request, query))
        require_more_like_this(visit.app)
        given = query.text("response_mode")
        if given is None:
            raise invalid("response_mode", "response_mode is required")
        mode = read_response_mode({"response_mode": given}, visit.app.mode)
        new = await surface.application.repeating.more_like(caller, message_id)
        return await send(surface, request, caller, new, mode)

    return (send_more_like_this,)
