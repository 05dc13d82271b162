"""A person's conversations: listing, naming and deleting them."""

from collections.abc import Sequence
from typing import Any, get_args
from uuid import UUID

import msgspec
from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, epoch_seconds, no_content
from chatledger.adapters.http.bodies import UserRequest, flag_field, read_body, text_field
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.objects import Erased, mark_of
from chatledger.adapters.http.openapi import AS_OF_PARAMETER, BODY_ERRORS, LIMIT_PARAMETER, Operation, Parameter, User
from chatledger.adapters.http.reading import Query, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE
from chatledger.application.caller import require_chat
from chatledger.application.ports.views import ConversationOrder, ConversationView, Page


class ConversationObject(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. Times are epoch seconds. One that is ``erased`` has no name and no inputs, and can be deleted."""

    id: UUID
    name: str
    inputs: dict[str, Any]
    status: str = "normal"
    introduction: str
    created_at: int
    updated_at: int
    erased: Erased = msgspec.UNSET


class ConversationPage(msgspec.Struct, frozen=True):
    """A page of conversations."""

    limit: int
    has_more: bool
    data: Sequence[ConversationObject]


class RenameRequest(UserRequest, frozen=True, kw_only=True):
    """A name or, with ``auto_generate``, the wish for one."""

    name: str | None = None
    auto_generate: bool | None = False


_LIST = Operation(
    tag="Conversations",
    summary="List a person's conversations",
    description=(
        "With a key and without `user`, those of the one person whom all such callers share. By `updated_at`, one "
        "that goes on meanwhile moves to its new place; those that do not come once each."
    ),
    parameters=(
        Parameter("user", "Whose.", User),
        Parameter("last_id", "The last conversation of the page before.", UUID),
        LIMIT_PARAMETER,
        Parameter("sort_by", "`-updated_at` by default; `-` puts the newest first.", ConversationOrder),
        AS_OF_PARAMETER,
    ),
    answers={200: ConversationPage},
    errors=(400, 404),
)
_LIST_OF_VISITORS = msgspec.structs.replace(
    _LIST,
    parameters=(*_LIST.parameters, Parameter("pinned", "Only those that are, or are not, above the others.", bool)),
)
_RENAME = Operation(
    tag="Conversations",
    summary="Name a conversation",
    description=(
        "With `auto_generate` the name is made of the first message, and `name` passed over; where that fails the old "
        "name stays. What a user called a conversation is never replaced by itself, only here."
    ),
    body=RenameRequest,
    answers={200: ConversationObject},
    errors=(*BODY_ERRORS, 404, 410),
)
_DELETE = Operation(
    tag="Conversations",
    summary="Delete a conversation",
    description="Answers that are under way are stopped. Feedback on its messages can still be given.",
    body=UserRequest,
    body_required=False,
    answers={204: None},
    errors=(*BODY_ERRORS, 404),
)


def conversation_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application = surface.application
    one = f"{entrance.prefix}/conversations/{{conversation_id:uuid}}"

    @get(
        f"{entrance.prefix}/conversations",
        opt=entrance.documented(_LIST if entrance.names_users else _LIST_OF_VISITORS),
    )
    async def list_conversations(request: HttpRequest) -> ASGIResponse:
        visit = await entrance.admit(request)
        query = Query(request)
        caller = visit.by_query(query)
        require_chat(visit.app)
        as_of = query.as_of()
        last_id = query.uuid("last_id")
        limit = query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE)
        order: ConversationOrder = query.choice("sort_by", "-updated_at", get_args(ConversationOrder))
        # Old clients send it with a key too, where it means nothing.
        pinned = None if entrance.names_users else query.flag("pinned")
        views, has_more = await application.history.conversations(
            caller, order, Page(limit, last_id), pinned=pinned, as_of=as_of
        )
        return answer(request, ConversationPage(limit, has_more, [_conversation_object(view) for view in views]))

    @post(f"{one}/name", status_code=200, opt=entrance.documented(_RENAME))
    async def rename_conversation(request: HttpRequest, conversation_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, conversation_id)
        visit = await entrance.admit(request)
        body = await read_body(request, surface.settings, optional=True)
        caller = visit.by_body(body)
        require_chat(visit.app)
        if flag_field(body, "auto_generate", default=False):
            view = await application.renaming.name_automatically(caller, conversation_id)
        else:
            view = await application.renaming.rename(caller, conversation_id, text_field(body, "name") or "")
        return answer(request, _conversation_object(view))

    @delete(one, status_code=200, opt=entrance.documented(_DELETE))
    async def delete_conversation(request: HttpRequest, conversation_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, conversation_id)
        visit = await entrance.admit(request)
        body = await read_body(request, surface.settings, optional=True)
        caller = visit.by_body(body)
        require_chat(visit.app)
        await application.deleting.delete(caller, conversation_id)
        return no_content(request)

    return list_conversations, rename_conversation, delete_conversation


def _conversation_object(view: ConversationView) -> ConversationObject:
    return ConversationObject(
        id=view.conversation_id,
        name=view.name,
        inputs=view.inputs,
        introduction=view.introduction,
        created_at=epoch_seconds(view.created_at),
        updated_at=epoch_seconds(view.updated_at),
        erased=mark_of(view),
    )
