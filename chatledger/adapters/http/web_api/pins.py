"""The conversations that a visitor has above the others."""

from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from litestar import patch
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer
from chatledger.adapters.http.objects import SUCCESS, Success
from chatledger.adapters.http.openapi import Operation
from chatledger.adapters.http.reading import read_uuid, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.caller import require_chat
from chatledger.application.errors import NotFoundError

_PIN = Operation(
    tag="Conversations",
    summary="Put a conversation above the others",
    description="Doing so again changes nothing.",
    answers={200: Success},
    errors=(404,),
)
_UNPIN = Operation(
    tag="Conversations",
    summary="Put a conversation back among the others",
    description="Of one that is not above them, or does not exist, it changes nothing.",
    answers={200: Success},
)


def pin_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    pinning, entrance = surface.application.pinning, surface.web
    path = f"{entrance.prefix}/conversations"

    @patch(f"{path}/{{conversation_id:uuid}}/pin", opt=entrance.documented(_PIN))
    async def pin_conversation(request: HttpRequest, conversation_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, conversation_id)
        caller = (await entrance.admit(request)).by_credential()
        require_chat(caller.app)
        await pinning.pin(caller, conversation_id)
        return answer(request, SUCCESS)

    @patch(f"{path}/{{conversation_id:str}}/unpin", opt=entrance.documented(_UNPIN))
    async def unpin_conversation(request: HttpRequest, conversation_id: FromPath[str]) -> ASGIResponse:
        caller = (await entrance.admit(request)).by_credential()
        require_chat(caller.app)
        known = read_uuid(conversation_id)
        if known is not None:
            with suppress(NotFoundError):
                await pinning.unpin(caller, known)
        return answer(request, SUCCESS)

    return pin_conversation, unpin_conversation
