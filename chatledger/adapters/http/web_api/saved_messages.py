"""The messages that a visitor keeps at hand."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, no_content
from chatledger.adapters.http.bodies import read_body, text_field
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.files import Link, MessageFileObject, signed_links
from chatledger.adapters.http.objects import SUCCESS, OwnFeedback, Success, message_object
from chatledger.adapters.http.openapi import BODY_ERRORS, LIMIT_PARAMETER, Operation, Parameter
from chatledger.adapters.http.reading import Query, parse_uuid, read_uuid
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE
from chatledger.application.caller import Caller, require_completion
from chatledger.application.errors import NotFoundError
from chatledger.application.ports.views import MessageView, Page


class SaveRequest(msgspec.Struct, frozen=True):
    """Which message to keep at hand."""

    message_id: UUID


class SavedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is kept at hand. ``created_at`` is when it was sent, in epoch seconds."""

    id: UUID
    inputs: dict[str, Any]
    query: str
    answer: str
    message_files: Sequence[MessageFileObject]
    feedback: OwnFeedback | None
    created_at: int


class SavedMessagePage(msgspec.Struct, frozen=True):
    """A page of saved messages, the last saved first."""

    limit: int
    has_more: bool
    data: Sequence[SavedMessage]


_LIST = Operation(
    tag="Saved messages",
    summary="List the messages that are kept at hand",
    parameters=(Parameter("last_id", "The last message of the page before.", UUID), LIMIT_PARAMETER),
    answers={200: SavedMessagePage},
    errors=(400,),
)
_SAVE = Operation(
    tag="Saved messages",
    summary="Keep a message at hand",
    description="Doing so again changes nothing.",
    body=SaveRequest,
    answers={200: Success},
    errors=(*BODY_ERRORS, 404),
)
_UNSAVE = Operation(
    tag="Saved messages",
    summary="Keep a message at hand no longer",
    description="Of one that is not kept, or does not exist, it changes nothing.",
    answers={204: None},
    errors=(400,),
)


def saved_message_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    saving, entrance = surface.application.saving, surface.web

    @get(f"{entrance.prefix}/saved-messages", opt=entrance.documented(_LIST))
    async def list_saved_messages(request: HttpRequest) -> ASGIResponse:
        caller = (await entrance.admit(request)).by_credential()
        require_completion(caller.app)
        query = Query(request)
        last_id = query.uuid("last_id")
        limit = query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE)
        views, has_more = await saving.saved(caller, Page(limit, last_id))
        link = signed_links(surface, request)
        return answer(
            request, SavedMessagePage(limit, has_more, [_saved_message(view, caller, link) for view in views])
        )

    @post(f"{entrance.prefix}/saved-messages", status_code=200, opt=entrance.documented(_SAVE))
    async def save_message(request: HttpRequest) -> ASGIResponse:
        caller = (await entrance.admit(request)).by_credential()
        require_completion(caller.app)
        given = text_field(await read_body(request, surface.settings), "message_id")
        if not given:
            raise invalid("message_id", "message_id is required")
        await saving.save(caller, parse_uuid("message_id", given))
        return answer(request, SUCCESS)

    @delete(f"{entrance.prefix}/saved-messages/{{message_id:str}}", status_code=200, opt=entrance.documented(_UNSAVE))
    async def unsave_message(request: HttpRequest, message_id: FromPath[str]) -> ASGIResponse:
        caller = (await entrance.admit(request)).by_credential()
        require_completion(caller.app)
        known = read_uuid(message_id)
        if known is not None:
            with suppress(NotFoundError):
                await saving.unsave(caller, known)
        return no_content(request)

    return list_saved_messages, save_message, unsave_message


def _saved_message(view: MessageView, reader: Caller, link: Link) -> SavedMessage:
    shown = message_object(view, reader, link)
    return SavedMessage(
        id=shown.id,
        inputs=shown.inputs,
        query=shown.query,
        answer=shown.answer,
        message_files=shown.message_files,
        feedback=shown.feedback,
        created_at=shown.created_at,
    )
