"""The history of a conversation."""

from collections.abc import Sequence
from uuid import UUID

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.files import signed_links
from chatledger.adapters.http.objects import MessagePage, message_object
from chatledger.adapters.http.openapi import (
    AS_OF_PARAMETER,
    LIMIT_PARAMETER,
    USER_PARAMETER,
    Operation,
    OptionalId,
    Parameter,
)
from chatledger.adapters.http.reading import Query
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE
from chatledger.application.caller import require_chat
from chatledger.application.ports.views import Page

_LIST = Operation(
    tag="Messages",
    summary="Read the history of a conversation",
    description="The latest messages before `first_id`, oldest first within the page.",
    parameters=(
        Parameter("conversation_id", "A UUID; empty gives an empty page.", OptionalId, required=True),
        Parameter("first_id", "The oldest message of the page before.", UUID),
        LIMIT_PARAMETER,
        USER_PARAMETER,
        AS_OF_PARAMETER,
    ),
    answers={200: MessagePage},
    errors=(400, 404, 410),
)


def message_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handler."""

    @get(f"{entrance.prefix}/messages", opt=entrance.documented(_LIST))
    async def list_messages(request: HttpRequest) -> ASGIResponse:
        visit = await entrance.admit(request)
        query = Query(request)
        caller = visit.by_query(query)
        require_chat(visit.app)
        as_of = query.as_of()
        if "conversation_id" not in query:
            raise invalid("conversation_id", "conversation_id is required")
        conversation_id, first_id = query.uuid("conversation_id"), query.uuid("first_id")
        limit = query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE)
        if conversation_id is None:
            return answer(request, MessagePage(limit, has_more=False, data=()))
        page = Page(limit, first_id)
        messages, has_more = await surface.application.history.messages(caller, conversation_id, page, as_of)
        link = signed_links(surface, request)
        data = [message_object(message, caller, link) for message in messages]
        return answer(request, MessagePage(limit, has_more, data))

    return (list_messages,)
