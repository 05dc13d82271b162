"""The list of a person's conversations."""

from collections.abc import Sequence
from typing import Any, get_args
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, epoch_seconds
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.openapi import LIMIT_PARAMETER, Operation, Parameter, User
from chatledger.adapters.http.reading import Query
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE
from chatledger.application.caller import require_chat
from chatledger.application.ports.views import ConversationOrder, ConversationView, Page


class ConversationObject(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. Times are epoch seconds."""

    id: UUID
    name: str
    inputs: dict[str, Any]
    status: str = "normal"
    introduction: str
    created_at: int
    updated_at: int


class ConversationPage(msgspec.Struct, frozen=True):
    """A page of conversations."""

    limit: int
    has_more: bool
    data: Sequence[ConversationObject]


_LIST = Operation(
    tag="Conversations",
    summary="List a person's conversations",
    description="Without `user`, those of the one person whom all such callers share. `as_of` is reserved and refused.",
    parameters=(
        Parameter("user", "Whose.", User),
        Parameter("last_id", "The last conversation of the page before.", UUID),
        LIMIT_PARAMETER,
        Parameter("sort_by", "`-updated_at` by default; `-` puts the newest first.", ConversationOrder),
    ),
    answers={200: ConversationPage},
    errors=(400, 404),
)


def conversation_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handler."""

    @get(f"{entrance.prefix}/conversations", opt=entrance.documented(_LIST))
    async def list_conversations(request: HttpRequest) -> ASGIResponse:
        visit = await entrance.admit(request)
        query = Query(request)
        caller = visit.by_query(query)
        require_chat(visit.app)
        query.require_now()
        last_id = query.uuid("last_id")
        limit = query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE)
        order: ConversationOrder = query.choice("sort_by", "-updated_at", get_args(ConversationOrder))
        views, has_more = await surface.application.history.conversations(caller, order, Page(limit, last_id))
        return answer(request, ConversationPage(limit, has_more, [_conversation_object(view) for view in views]))

    return (list_conversations,)


def _conversation_object(view: ConversationView) -> ConversationObject:
    return ConversationObject(
        id=view.conversation_id,
        name=view.name,
        inputs=view.inputs,
        introduction=view.introduction,
        created_at=epoch_seconds(view.created_at),
        updated_at=epoch_seconds(view.updated_at),
    )
