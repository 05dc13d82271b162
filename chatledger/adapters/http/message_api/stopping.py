"""The two stop routes. Both always answer success: a caller cannot learn whether there was anything to stop."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer
from chatledger.adapters.http.bodies import read_body
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.objects import SUCCESS, Success
from chatledger.adapters.http.openapi import BODY_ERRORS, Operation, User
from chatledger.adapters.http.reading import read_uuid
from chatledger.adapters.http.surface import Surface
from chatledger.application.caller import require_chat, require_completion
from chatledger.application.errors import NotFoundError
from chatledger.application.ports.views import AppView


class StopRequest(msgspec.Struct, frozen=True):
    """Who wants the generation to end."""

    user: User


_OPERATION = Operation(
    tag="Messages",
    summary="Stop a generation",
    description="Answers success also for a task that is unknown, has ended, or is another user's.",
    body=StopRequest,
    answers={200: Success},
    errors=BODY_ERRORS,
)


def stop_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    prefix, opt = entrance.prefix, entrance.documented(_OPERATION)

    async def stop(request: HttpRequest, task_id: str, require_mode: Callable[[AppView], None]) -> ASGIResponse:
        visit = await entrance.admit(request)
        body = await read_body(request, surface.settings, optional=not entrance.names_users)
        caller = visit.by_body(body, required=True)
        require_mode(visit.app)
        # To the client it is opaque: what is no id of ours names no task.
        known = read_uuid(task_id)
        if known is not None:
            with suppress(NotFoundError):
                await surface.application.stopping.stop(caller, known)
        return answer(request, SUCCESS)

    @post(f"{prefix}/chat-messages/{{task_id:str}}/stop", status_code=200, opt=opt)
    async def stop_chat_message(request: HttpRequest, task_id: FromPath[str]) -> ASGIResponse:
        return await stop(request, task_id, require_chat)

    @post(f"{prefix}/completion-messages/{{task_id:str}}/stop", status_code=200, opt=opt)
    async def stop_completion_message(request: HttpRequest, task_id: FromPath[str]) -> ASGIResponse:
        return await stop(request, task_id, require_completion)

    return stop_chat_message, stop_completion_message
