"""How the message API is entered: with an app's key under ``/v1``. Each route of it is served at every entrance."""

from collections.abc import Sequence
from typing import Any, Protocol

from chatledger.adapters.http.answers import HttpRequest, correlation_id
from chatledger.adapters.http.auth import CONTENT, require_app, require_reader
from chatledger.adapters.http.bodies import Body, required_user
from chatledger.adapters.http.openapi import Operation, documented
from chatledger.adapters.http.rate_limits import counted
from chatledger.adapters.http.reading import Query, user_named
from chatledger.application.caller import Caller, Reader
from chatledger.application.ports.views import AppView
from chatledger.application.queries.credentials import Credentials
from chatledger.domain.values import EndUserKind, Scope


class Visit:
    """Who passed an entrance. A visitor is known by the credential; for a key, each request names its user."""

    def __init__(self, request: HttpRequest, app: AppView, kind: EndUserKind, visitor: str | None = None) -> None:
        self.app = app
        self._request = request
        self._kind: EndUserKind = kind
        self._visitor = visitor

    def by_query(self, query: Query, *, trace: str | None = None) -> Caller:
        """The caller, whose user stands in the query string.

        Raises:
            InvalidParameterError: the name is too long.
            RateLimitedError: the caller asks too often.
        """
        return self._caller(self._visitor or query.user(), trace)

    def by_body(self, body: Body, *, required: bool = False, trace: str | None = None) -> Caller:
        """The caller, whose user stands in the body.

        Raises:
            HttpError: it is ``required``, and not there.
            InvalidParameterError: the name is too long.
            RateLimitedError: the caller asks too often.
        """
        if self._visitor is not None:
            return self._caller(self._visitor, trace)
        return self._caller(required_user(body) if required else user_named(body.get("user")), trace)

    def count_visitor(self) -> None:
        """Count the request before its body is read, where the credential says whose it is.

        Raises:
            RateLimitedError: the visitor asks too often.
        """
        if self._visitor is not None:
            self.by_credential()

    def by_credential(self) -> Caller:
        """The caller, of whom the request says nothing more.

        Raises:
            RateLimitedError: the caller asks too often.
        """
        return self._caller(self._visitor, None)

    def _caller(self, user: str | None, trace: str | None) -> Caller:
        caller = Caller(
            app=self.app, user=user, correlation_id=correlation_id(self._request), kind=self._kind, trace=trace
        )
        return counted(self._request, caller)


class Entrance(Protocol):
    """One way in.

    Attributes:
        prefix: what the paths of its routes begin with.
        names_users: whether requests name the user that they speak for; else the credential does.
        names_conversations: whether a new conversation may get a name by itself; else its client asks for one later.
    """

    prefix: str
    names_users: bool
    names_conversations: bool

    async def admit(self, request: HttpRequest) -> Visit:
        """Whom the request's credential lets in.

        Raises:
            HttpError: it presents none.
            UnauthorizedError: it presents one that opens nothing.
            ForbiddenError: the app answers nobody.
        """
        ...

    async def admit_reader(self, request: HttpRequest, query: Query, scopes: Sequence[Scope] = CONTENT) -> Reader:
        """Who may read what the request asks for: the caller, or an operator with one of these, where they come in too.

        Raises:
            HttpError: it presents no credential, or names its user with too long a name.
            UnauthorizedError: it presents one that opens nothing.
            ForbiddenError: the app answers nobody, or the operator may not read.
        """
        ...

    def documented(self, operation: Operation) -> dict[str, Any]:
        """The ``opt`` of a route handler at this entrance."""
        ...


class ServiceEntrance:
    """With an app's key."""

    prefix = "/v1"
    names_users = True
    names_conversations = True

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def admit(self, request: HttpRequest) -> Visit:
        """The app whose key the request presents."""
        return Visit(request, await require_app(request, self._credentials), "service-api")

    async def admit_reader(self, request: HttpRequest, query: Query, scopes: Sequence[Scope] = CONTENT) -> Reader:
        """The app whose key the request presents, or an operator."""
        return await require_reader(request, self._credentials, query, scopes)

    def documented(self, operation: Operation) -> dict[str, Any]:
        """The ``opt`` of a route handler."""
        return documented(operation)
