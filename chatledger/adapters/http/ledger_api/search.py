"""Searching what was asked and answered."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, rfc3339
from chatledger.adapters.http.auth import require_reader
from chatledger.adapters.http.cursors import number_after
from chatledger.adapters.http.openapi import LIMIT_PARAMETER, USER_PARAMETER, Operation, Parameter, documented
from chatledger.adapters.http.reading import Query
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE
from chatledger.application.queries.searching import Hit, SearchWanted
from chatledger.application.search.matching import Passage

_CURSOR_PREFIX = "n"


class PassageObject(msgspec.Struct, frozen=True):
    """A piece of a question or of an answer. ``highlights`` are pairs of code points in it: from, and before."""

    text: str
    highlights: Sequence[tuple[int, int]]


class HitObject(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was found. Times are RFC 3339 in UTC."""

    message_id: UUID
    conversation_id: UUID
    end_user_id: UUID
    created_at: str
    query: Sequence[PassageObject]
    answer: Sequence[PassageObject]


class HitList(msgspec.Struct, frozen=True):
    """Messages that were found, newest first. ``cursor`` leads to the next page, null where there is none."""

    data: Sequence[HitObject]
    has_more: bool
    cursor: str | None


_SEARCH = Operation(
    tag="Ledger",
    summary="Search messages",
    description=(
        "The newest messages in whose question and answer all of the words stand; what is in quotation marks has to "
        "stand there as it is. Case and accents do not matter. In scripts that do not part their words any piece of "
        "a text is found. An app's key finds what its `user` asked and was answered, without one what all of its "
        "users did; an operator with the scope `audit` names the app. A message can be found once its answer is over."
    ),
    credential="reader",
    parameters=(
        Parameter("q", "What to look for, up to 200 characters.", required=True),
        USER_PARAMETER,
        Parameter("app_id", "Of which app; an app's key need not say.", UUID),
        LIMIT_PARAMETER,
        Parameter("cursor", "Where the page before ended."),
    ),
    answers={200: HitList},
    errors=(400, 404, 501),
)


def search_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handler."""
    application = surface.application

    @get("/v1/search", opt=documented(_SEARCH))
    async def search(request: HttpRequest) -> ASGIResponse:
        query = Query(request)
        reader = await require_reader(request, application.credentials, query)
        wanted = SearchWanted(
            query=query.text("q") or "",
            app_id=query.uuid("app_id"),
            user=query.user(),
            limit=query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE),
            beyond=number_after(query.text("cursor"), _CURSOR_PREFIX),
        )
        page = await application.searching.search(reader, wanted)
        cursor = None if page.beyond is None else f"{_CURSOR_PREFIX}{page.beyond}"
        return answer(request, HitList([_hit(hit) for hit in page.hits], cursor is not None, cursor))

    return (search,)


def _hit(hit: Hit) -> HitObject:
    message = hit.message
    return HitObject(
        message_id=message.message_id,
        conversation_id=message.conversation_id,
        end_user_id=message.end_user_id,
        created_at=rfc3339(message.created_at),
        query=_passages(hit.in_query),
        answer=_passages(hit.in_answer),
    )


def _passages(passages: Sequence[Passage]) -> list[PassageObject]:
    return [PassageObject(passage.text, passage.highlights) for passage in passages]
