"""How the message API is entered with a visitor's passport, under ``/api``."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from chatledger.adapters.http.answers import HttpRequest
from chatledger.adapters.http.auth import CONTENT, bearer_token
from chatledger.adapters.http.entrance import Visit
from chatledger.adapters.http.errors import CHALLENGE, HttpError
from chatledger.adapters.http.openapi import Operation, documented
from chatledger.adapters.http.passports import Passport, Passports
from chatledger.adapters.http.reading import Query, header
from chatledger.application.caller import Reader
from chatledger.application.commands.visiting import Visiting
from chatledger.application.errors import UnauthorizedError
from chatledger.application.ports.views import AppView
from chatledger.domain.values import Scope

APP_CODE = b"x-app-code"
APP_PASSPORT = b"x-app-passport"
COOKIE_PREFIX = "passport-"

_NOT_A_VISITORS = frozenset(("user", "auto_generate_name"))
"""What the bodies of other callers have."""


class WebEntrance:
    """With a passport."""

    prefix = "/api"
    names_users = False
    names_conversations = False

    def __init__(self, visiting: Visiting, passports: Passports) -> None:
        self._visiting = visiting
        self._passports = passports

    async def admit(self, request: HttpRequest) -> Visit:
        """The visitor whose passport the request presents.

        Raises:
            HttpError: it presents none.
            UnauthorizedError: it presents one that is not good, or not for the site that it names.
            NotFoundError: the app is gone.
            SiteClosedError: its site is switched off, or has another code by now.
        """
        passport = self._passports.check(presented_passport(request))
        if app_code(request) not in (None, passport.app_code):
            raise UnauthorizedError
        app = await self._visiting.app_of_site(passport.app_code)
        if not await self.is_of(app, passport):
            raise UnauthorizedError
        return Visit(request, app, "browser", str(passport.end_user_id))

    async def admit_reader(
        self,
        request: HttpRequest,
        query: Query,  # noqa: ARG002 - no visitor is named
        scopes: Sequence[Scope] = CONTENT,  # noqa: ARG002 - and no operator comes in
    ) -> Reader:
        """The visitor."""
        return (await self.admit(request)).by_credential()

    async def is_of(self, app: AppView, passport: Passport) -> bool:
        """Whether a passport is that of a visitor of this app."""
        return passport.app_id == app.app_id and await self._visiting.knows(app, passport.end_user_id)

    def documented(self, operation: Operation) -> dict[str, Any]:
        """The ``opt`` of a route handler: requests here name no user, and ask for no name."""
        return documented(
            msgspec.structs.replace(
                operation,
                credential="visitor",
                parameters=tuple(given for given in operation.parameters if given.name != "user"),
                body=None if operation.body is None else _without_user(operation.body),
            )
        )


def app_code(request: HttpRequest) -> str | None:
    """The code of the site that the request is for, where it says so."""
    return header(request, APP_CODE)


def presented_passport(request: HttpRequest) -> str:
    """The passport that the request brings: in a header of its own, as its authorization, or in a cookie.

    The cookie counts only beside the site's code: no page of another origin can send that header unasked.

    Raises:
        HttpError: it brings none.
    """
    given = header(request, APP_PASSPORT)
    if given is not None:
        return given
    if header(request, b"authorization") is not None:
        return bearer_token(request)
    code = app_code(request)
    given = None if code is None else request.cookies.get(f"{COOKIE_PREFIX}{code}")
    if given is None:
        raise HttpError(401, "A passport must be provided: GET /api/passport gives one.", headers=CHALLENGE)
    return given


@cache
@cache
def _without_user(body: type[msgspec.Struct]) -> type[msgspec.Struct] | None:
    """The same body as a visitor sends it, one type for all routes that take it; none, where it would say nothing."""
    fields = [
        (field.name, field.type) if field.required else (field.name, field.type, field.default)
        for field in msgspec.structs.fields(body)
        if field.name not in _NOT_A_VISITORS
    ]
    if not fields:
        return None
    return msgspec.defstruct(
        f"Visitor{body.__name__}", fields, namespace={"__doc__": body.__doc__}, frozen=True, kw_only=True
    )
