"""Giving visitors their passports."""

from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, correlation_id
from chatledger.adapters.http.errors import CHALLENGE, HttpError
from chatledger.adapters.http.openapi import Operation, Parameter, documented
from chatledger.adapters.http.passports import Passport
from chatledger.adapters.http.rate_limits import counted
from chatledger.adapters.http.surface import Surface
from chatledger.adapters.http.web_entrance import app_code, presented_passport
from chatledger.application.caller import Caller
from chatledger.application.errors import UnauthorizedError
from chatledger.application.ports.views import AppView


class GivenPassport(msgspec.Struct, frozen=True):
    """A visitor's passport, to be presented with every other call."""

    access_token: str


_GIVE = Operation(
    tag="Web app",
    summary="Give a visitor a passport",
    description=(
        "Whoever presents one that is still good is the same visitor, with a new passport; anybody else is a new one."
    ),
    credential=None,
    parameters=(Parameter("X-App-Code", "The code of the app's site.", where="header", required=True),),
    answers={200: GivenPassport},
    errors=(400, 401, 404, 429, 500, 503),
)


def passport_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handler."""
    visiting, passports = surface.application.visiting, surface.passports

    @get("/api/passport", opt=documented(_GIVE))
    async def give_passport(request: HttpRequest) -> ASGIResponse:
        code = app_code(request)
        if not code:
            raise HttpError(401, "X-App-Code header is missing.", headers=CHALLENGE)
        app = await visiting.app_of_site(code)
        # New visitors cost a record each: they count against what the app lets its visitors ask.
        counted(request, Caller(app=app, user=None, correlation_id=correlation_id(request), kind="browser"))
        visitor_id = await known_visitor(request, app)
        if visitor_id is None:
            surface.require_open(request)
            visitor_id = await visiting.begin(app, correlation_id(request))
        return answer(request, GivenPassport(passports.issue(Passport(app.app_id, code, visitor_id))))

    async def known_visitor(request: HttpRequest, app: AppView) -> UUID | None:
        with suppress(HttpError, UnauthorizedError):
            passport = passports.check(presented_passport(request))
            if await surface.web.is_of(app, passport):
                return passport.end_user_id
        return None

    return (give_passport,)
