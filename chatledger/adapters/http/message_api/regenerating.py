"""Asking the same once more."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest
from chatledger.adapters.http.bodies import UserRequest, read_body
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.message_api.new_message import (
    ResponseMode,
    read_on_disconnect,
    read_response_mode,
)
from chatledger.adapters.http.message_api.sending import SEND_ERRORS, SEND_PARAMETERS, Accepted, BlockingAnswer, send
from chatledger.adapters.http.openapi import Operation
from chatledger.adapters.http.reading import Query, require_plain_path, trace_id
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import accept_on_busy
from chatledger.application.caller import require_chat
from chatledger.domain.values import OnBusy, OnDisconnect


class RegenerateRequest(UserRequest, frozen=True, kw_only=True):
    """How to answer."""

    response_mode: ResponseMode | None = "blocking"
    on_disconnect: OnDisconnect | None = "continue"
    on_busy: OnBusy | None = None
    trace_id: str | None = None


_REGENERATE = Operation(
    tag="Messages",
    summary="Ask for another answer to the same question",
    description=(
        "A new message with the question, the inputs and the parent of this one: each lists the other among its "
        "`siblings`. It is answered as a chat message that is sent, `on_busy` included."
    ),
    parameters=SEND_PARAMETERS,
    body=RegenerateRequest,
    body_required=False,
    answers={200: BlockingAnswer, 202: Accepted},
    streams=True,
    errors=(*SEND_ERRORS, 404, 409),
)


def regenerate_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handler."""

    @post(
        f"{entrance.prefix}/messages/{{message_id:uuid}}/regenerate",
        status_code=200,
        opt=entrance.documented(_REGENERATE),
    )
    async def regenerate(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, message_id)
        visit = await entrance.admit(request)
        body = await read_body(request, surface.settings, optional=True)
        caller = visit.by_body(body, trace=trace_id(request, Query(request), body.get("trace_id")))
        require_chat(visit.app)
        mode = read_response_mode(body, visit.app.mode)
        on_busy, on_disconnect = accept_on_busy(body.get("on_busy")), read_on_disconnect(body, mode)
        new = await surface.application.repeating.again(caller, message_id)
        new = msgspec.structs.replace(new, on_busy=on_busy, on_disconnect=on_disconnect)
        return await send(surface, request, caller, new, mode)

    return (regenerate,)
