"""Rating messages, and the app's list of ratings."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, rfc3339
from chatledger.adapters.http.bodies import Body, read_body, text_field
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.objects import SUCCESS, Success
from chatledger.adapters.http.openapi import BODY_ERRORS, Operation, Parameter, User, whole_number
from chatledger.adapters.http.reading import Query, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE
from chatledger.application.ports.views import FeedbackView
from chatledger.application.queries.history import MAX_FEEDBACKS, MAX_PAGE_NUMBER
from chatledger.domain.values import FeedbackSource, Rating


class FeedbackRequest(msgspec.Struct, frozen=True):
    """A rating; null or none at all withdraws the one that was given. Without a user, it is the owner's."""

    rating: Rating | None = None
    content: str | None = None
    user: User | None = None


class FeedbackObject(msgspec.Struct, frozen=True, kw_only=True):
    """A rating as the app's list shows it. Times are RFC 3339 in UTC."""

    id: UUID
    app_id: UUID
    conversation_id: UUID
    message_id: UUID
    rating: Rating
    content: str | None
    from_source: FeedbackSource
    from_end_user_id: UUID | None
    from_account_id: UUID | None
    created_at: str
    updated_at: str


class FeedbackPage(msgspec.Struct, frozen=True):
    """A page of ratings, newest first."""

    data: Sequence[FeedbackObject]


_GIVE = Operation(
    tag="Feedback",
    summary="Rate a message, or take the rating back",
    body=FeedbackRequest,
    body_required=False,
    answers={200: Success},
    errors=(*BODY_ERRORS, 404),
)
_LIST = Operation(
    tag="Feedback",
    summary="List the app's ratings",
    description="`as_of` is reserved and refused.",
    parameters=(
        Parameter("page", "Counts from 1.", whole_number(1, MAX_PAGE_NUMBER, default=1)),
        Parameter("limit", "How many at most.", whole_number(1, MAX_FEEDBACKS, default=DEFAULT_PAGE)),
    ),
    answers={200: FeedbackPage},
    errors=(400,),
)


def feedback_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handler that answers at every entrance."""

    @post(f"{entrance.prefix}/messages/{{message_id:uuid}}/feedbacks", status_code=200, opt=entrance.documented(_GIVE))
    async def give_feedback(request: HttpRequest, message_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, message_id)
        visit = await entrance.admit(request)
        body = await read_body(request, surface.settings, optional=True)
        caller = visit.by_body(body)
        rating, content = _rating(body), text_field(body, "content")
        await surface.application.rating.rate(caller, message_id, rating, content)
        return answer(request, SUCCESS)

    return (give_feedback,)


def feedback_list_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handler of the app's list, which is for its key alone."""
    entrance = surface.service

    @get(f"{entrance.prefix}/app/feedbacks", opt=entrance.documented(_LIST))
    async def list_feedbacks(request: HttpRequest) -> ASGIResponse:
        caller = (await entrance.admit(request)).by_credential()
        query = Query(request)
        query.require_now()
        page = query.integer("page", 1, 1, MAX_PAGE_NUMBER)
        limit = query.integer("limit", DEFAULT_PAGE, 1, MAX_FEEDBACKS)
        views = await surface.application.history.feedbacks(caller, page, limit)
        return answer(request, FeedbackPage([_feedback_object(view) for view in views]))

    return (list_feedbacks,)


def _rating(body: Body) -> Rating | None:
    match body.get("rating"):
        case None:
            return None
        case "like":
            return "like"
        case "dislike":
            return "dislike"
        case _:
            raise invalid("rating", "rating must be one of: like, dislike, null")


def _feedback_object(view: FeedbackView) -> FeedbackObject:
    return FeedbackObject(
        id=view.feedback_id,
        app_id=view.app_id,
        conversation_id=view.conversation_id,
        message_id=view.message_id,
        rating=view.rating,
        content=view.content,
        from_source=view.source,
        from_end_user_id=view.end_user_id,
        from_account_id=None,
        created_at=rfc3339(view.created_at),
        updated_at=rfc3339(view.updated_at),
    )
