"""One message, with its version and its siblings."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.files import signed_links
from chatledger.adapters.http.objects import MessageObject, message_object
from chatledger.adapters.http.openapi import AS_OF_PARAMETER, USER_PARAMETER, Operation
from chatledger.adapters.http.reading import Query, require_plain_path
from chatledger.adapters.http.surface import Surface


class MessageDetailObject(MessageObject, frozen=True, kw_only=True):
    """A message with the version of its stream, and the other messages with the same parent."""

    version: int
    siblings: Sequence[UUID]


_READ = Operation(
    tag="Ledger",
    summary="Read one message",
    credential="reader",
    parameters=(USER_PARAMETER, AS_OF_PARAMETER),
    answers={200: MessageDetailObject},
    errors=(400, 404, 410),
)


def message_detail_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handler."""
    application = surface.application

    @get(f"{entrance.prefix}/messages/{{message_id:uuid}}", opt=entrance.documented(_READ))
    async def read_message(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, message_id)
        query = Query(request)
        reader = await entrance.admit_reader(request, query)
        detail = await application.history.detail(reader, message_id, query.as_of())
        fields = msgspec.structs.asdict(message_object(detail.message, reader, signed_links(surface, request)))
        return answer(request, MessageDetailObject(**fields, version=detail.version, siblings=detail.siblings))

    return (read_message,)
