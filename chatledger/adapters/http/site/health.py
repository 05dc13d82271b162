"""Health, for what watches over the process."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from litestar import route
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer
from chatledger.adapters.http.errors import unavailable
from chatledger.adapters.http.openapi import Operation, documented
from chatledger.adapters.http.surface import Surface

log = logging.getLogger(__name__)

READY_WITHIN = 2.0
"""Seconds that the check of readiness may take."""

ReadinessCheck = Callable[[], Awaitable[object]]
"""Raises if the server is not ready to work."""


class Health(msgspec.Struct, frozen=True):
    """How it is."""

    status: str


_LIVE = Operation(tag="Health", summary="Say that the process lives", credential=None, answers={200: Health})
_READY = Operation(
    tag="Health",
    summary="Say whether the server can take work",
    credential=None,
    answers={200: Health},
    errors=(503,),
)


def health_routes(surface: Surface, is_ready: ReadinessCheck) -> Sequence[HTTPRouteHandler]:
    """The handlers."""

    @route("/health/live", http_method=["GET", "HEAD"], opt=documented(_LIVE))
    async def say_live(request: HttpRequest) -> ASGIResponse:
        return answer(request, Health("live"))

    @route("/health/ready", http_method=["GET", "HEAD"], opt=documented(_READY))
    async def say_ready(request: HttpRequest) -> ASGIResponse:
        if surface.shutdown.has_begun:
            raise unavailable()
        try:
            async with asyncio.timeout(READY_WITHIN):
                await is_ready()
        except Exception as error:
            log.warning("not ready: %s", type(error).__name__)
            raise unavailable() from error
        return answer(request, Health("ready"))

    return say_live, say_ready
