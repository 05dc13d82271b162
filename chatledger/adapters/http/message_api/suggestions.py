"""Questions to ask next, under both paths that clients know."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.errors import HttpError
from chatledger.adapters.http.openapi import USER_PARAMETER, Operation
from chatledger.adapters.http.reading import Query, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.commands.suggesting import require_suggestions
from chatledger.application.errors import NotFoundError


class Suggested(msgspec.Struct, frozen=True, kw_only=True):
    """Questions that may follow on an answer; none where no model could think of any."""

    result: str = "success"
    data: Sequence[str]


class SuggestedQuestions(msgspec.Struct, frozen=True):
    """Questions that may follow on an answer; none where no model could think of any."""

    data: Sequence[str]


_SUGGESTED = Operation(
    tag="Messages",
    summary="Suggest what to ask next",
    description="A model is asked once; what it suggests is kept with the message.",
    parameters=(USER_PARAMETER,),
    answers={200: Suggested},
    errors=(400, 403, 404, 410),
)
_SUGGESTED_QUESTIONS = msgspec.structs.replace(
    _SUGGESTED, summary="Suggest what to ask next, as the web app asks for it", answers={200: SuggestedQuestions}
)


def suggestion_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    path = f"{entrance.prefix}/messages/{{message_id:uuid}}"

    async def suggest(request: HttpRequest, message_id: UUID) -> Sequence[str]:
        require_plain_path(request, message_id)
        visit = await entrance.admit(request)
        caller = visit.by_query(Query(request))
        require_suggestions(visit.app)
        return await surface.application.suggesting.suggest(caller, message_id)

    @get(f"{path}/suggested", opt=entrance.documented(_SUGGESTED))
    async def list_suggested(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        return answer(request, Suggested(data=await suggest(request, message_id)))

    @get(f"{path}/suggested-questions", opt=entrance.documented(_SUGGESTED_QUESTIONS))
    async def list_suggested_questions(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        try:
            return answer(request, SuggestedQuestions(await suggest(request, message_id)))
        except NotFoundError as error:
            raise HttpError(404, f"{error.missing.capitalize()} not found") from error

    return list_suggested, list_suggested_questions
