"""Rating messages."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer
from chatledger.adapters.http.bodies import Body, read_body, text_field
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.objects import SUCCESS, Success
from chatledger.adapters.http.openapi import BODY_ERRORS, Operation, User
from chatledger.adapters.http.reading import require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.domain.values import Rating


class FeedbackRequest(msgspec.Struct, frozen=True):
    """A rating; null or none at all withdraws the one that was given. Without a user, it is the owner's."""

    rating: Rating | None = None
    content: str | None = None
    user: User | None = None


_GIVE = Operation(
    tag="Feedback",
    summary="Rate a message, or take the rating back",
    body=FeedbackRequest,
    body_required=False,
    answers={200: Success},
    errors=(*BODY_ERRORS, 404),
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
