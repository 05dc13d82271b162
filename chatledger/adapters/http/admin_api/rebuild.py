"""Making the read models anew: begun by an operator, and looked after."""

from collections.abc import Sequence

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, rfc3339
from chatledger.adapters.http.auth import require_operator
from chatledger.adapters.http.openapi import Operation, documented
from chatledger.adapters.http.surface import Surface
from chatledger.application.commands.rebuilding import RebuildReport, RebuildState, RebuildStatus

PATH = "/v1/admin/rebuild"


class RebuildObject(msgspec.Struct, frozen=True, kw_only=True):
    """The newest rebuild since the server began. Times are RFC 3339 in UTC, null where there is none.

    ``done`` and ``total`` are positions of the ledger. ``report`` is there once it is completed, ``error`` where it
    failed: then the read models are as they were.
    """

    state: RebuildState
    done: int
    total: int
    started_at: str | None
    ended_at: str | None
    report: RebuildReport | None
    error: str | None


_START = Operation(
    tag="Read models",
    summary="Make the read models anew",
    description=(
        "From the ledger, beside the live ones and while everybody goes on; then they are compared row by row with "
        "the live ones, and take their place. For operators with the scope `operate`. It goes on in the background: "
        "`GET` tells how far it has come. While one is under way another is refused with `rebuild_running`."
    ),
    credential="operator",
    answers={202: RebuildObject},
    errors=(409,),
)
_SHOW = Operation(
    tag="Read models",
    summary="Read how far a rebuild has come",
    credential="operator",
    answers={200: RebuildObject},
)


def rebuild_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application = surface.application
    rebuilding = application.rebuilding

    @post(PATH, status_code=202, opt=documented(_START))
    async def start_rebuild(request: HttpRequest) -> ASGIResponse:
        await require_operator(request, application.credentials)
        surface.require_open(request)
        rebuilding.start()
        return answer(request, _rebuild_object(rebuilding.status), status=202, headers={"location": PATH})

    @get(PATH, opt=documented(_SHOW))
    async def show_rebuild(request: HttpRequest) -> ASGIResponse:
        await require_operator(request, application.credentials)
        return answer(request, _rebuild_object(rebuilding.status))

    return start_rebuild, show_rebuild


def _rebuild_object(status: RebuildStatus) -> RebuildObject:
    return RebuildObject(
        state=status.state,
        done=status.done,
        total=status.total,
        started_at=None if status.started_at is None else rfc3339(status.started_at),
        ended_at=None if status.ended_at is None else rfc3339(status.ended_at),
        report=status.report,
        error=status.error,
    )
