"""The people of an app."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, rfc3339
from chatledger.adapters.http.openapi import Operation
from chatledger.adapters.http.reading import require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.ports.views import EndUserDetail
from chatledger.domain.values import EndUserKind


class EndUserObject(msgspec.Struct, frozen=True, kw_only=True):
    """A person as the app's key finds them. Times are RFC 3339 in UTC."""

    id: UUID
    tenant_id: UUID
    app_id: UUID
    type: EndUserKind
    external_user_id: str
    name: str | None = None
    is_anonymous: bool
    session_id: str
    created_at: str
    updated_at: str


_SHOW = Operation(tag="App", summary="Say who an end user is", answers={200: EndUserObject}, errors=(404, 410))


def end_user_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handler, which is for the app's key alone."""
    entrance = surface.service

    @get(f"{entrance.prefix}/end-users/{{end_user_id:uuid}}", opt=entrance.documented(_SHOW))
    async def show_end_user(request: HttpRequest, end_user_id: FromPath[UUID]) -> ASGIResponse:
        require_plain_path(request, end_user_id)
        caller = (await entrance.admit(request)).by_credential()
        return answer(request, _end_user_object(await surface.application.end_users.detail(caller, end_user_id)))

    return (show_end_user,)


def _end_user_object(detail: EndUserDetail) -> EndUserObject:
    """Nothing about a person changes once they were seen, so far."""
    seen_at = rfc3339(detail.created_at)
    return EndUserObject(
        id=detail.end_user_id,
        tenant_id=detail.app_id,
        app_id=detail.app_id,
        type=detail.kind,
        external_user_id=detail.external_id,
        is_anonymous=detail.is_anonymous,
        session_id=detail.external_id,
        created_at=seen_at,
        updated_at=seen_at,
    )
