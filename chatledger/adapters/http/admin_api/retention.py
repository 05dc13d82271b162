"""For how long an app keeps what is said in it."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer
from chatledger.adapters.http.auth import admit_operator, context_of, require_scope
from chatledger.adapters.http.bodies import read_body
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.openapi import BODY_ERRORS, Operation, documented
from chatledger.adapters.http.reading import require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.domain.app import LONGEST_RETENTION


class RetentionRequest(msgspec.Struct, frozen=True):
    """After how many days at rest conversations are erased; null keeps them for ever."""

    retention_days: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_RETENTION)] | None


class RetentionObject(msgspec.Struct, frozen=True):
    """An app, and how long it keeps conversations that rest."""

    app_id: UUID
    retention_days: int | None


_SET = Operation(
    tag="Erasure",
    summary="Set for how long an app keeps conversations",
    description=(
        "For operators with the scopes `operate` and `erase`; null, which keeps all, needs `operate` alone. "
        "Conversations of the app in which nothing has happened for so many days are erased in the background, deleted "
        "ones and completions too, but for those of people under a hold."
    ),
    credential="operator",
    body=RetentionRequest,
    answers={200: RetentionObject},
    errors=(*BODY_ERRORS, 404),
)


def retention_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handler."""
    application = surface.application

    @post("/v1/admin/apps/{app_id:uuid}/retention", status_code=200, opt=documented(_SET))
    async def set_retention(request: HttpRequest, app_id: FromPath[UUID]) -> ASGIResponse:
        operator = await admit_operator(request, application.credentials, ("operate",))
        require_plain_path(request, app_id)
        body = await read_body(request, surface.settings)
        if "retention_days" not in body:
            raise invalid("retention_days", "retention_days is required, a number or null")
        days = body["retention_days"]
        if days is not None:
            require_scope(operator, "erase")
        if isinstance(days, float) and days.is_integer():  # JSON has one kind of number
            days = int(days)
        await application.apps.set_retention(app_id, days, context_of(request, operator))
        return answer(request, RetentionObject(app_id, days))

    return (set_retention,)
