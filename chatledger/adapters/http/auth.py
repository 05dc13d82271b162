"""Credentials: who is behind a request."""

from collections.abc import Sequence

from chatledger.adapters.http.answers import HttpRequest, correlation_id
from chatledger.adapters.http.errors import CHALLENGE, HttpError
from chatledger.adapters.http.rate_limits import counted
from chatledger.adapters.http.reading import Query, header
from chatledger.application.caller import Auditor, Caller
from chatledger.application.commands.managing_operators import TOKEN_PREFIX
from chatledger.application.context import Actor, Context
from chatledger.application.errors import ForbiddenError
from chatledger.application.ports.views import AppView, OperatorView
from chatledger.application.queries.credentials import Credentials
from chatledger.domain.values import Scope

CONTENT: Sequence[Scope] = ("audit",)
"""What opens what other people wrote and were answered."""

NO_CONTENT: Sequence[Scope] = ("audit", "operate")
"""What opens that which says nothing of it."""


def bearer_token(request: HttpRequest) -> str:
    """The credential that the request presents.

    Raises:
        HttpError: it presents none.
    """
    given = header(request, b"authorization")
    if given is None or " " not in given:
        raise HttpError(401, "Authorization header must be provided and start with 'Bearer'", headers=CHALLENGE)
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer":
        raise HttpError(401, "Authorization scheme must be 'Bearer'", headers=CHALLENGE)
    return token.strip()


async def require_app(request: HttpRequest, credentials: Credentials) -> AppView:
    """The app whose key the request presents.

    Raises:
        HttpError: it presents nothing.
        UnauthorizedError: it presents something else.
    """
    return await credentials.app(bearer_token(request))


async def require_operator(
    request: HttpRequest, credentials: Credentials, scope: Scope = "operate", *also: Scope
) -> Context:
    """An operator with this scope, and with these; gives the metadata of what the request records.

    Raises:
        HttpError: the request presents nothing.
        UnauthorizedError: it presents something that opens nothing.
        ForbiddenError: it presents an app's key, or the operator's token has not got all the scopes.
    """
    operator = await admit_operator(request, credentials, (scope,))
    for each in also:
        require_scope(operator, each)
    return context_of(request, operator)


async def require_auditor(request: HttpRequest, credentials: Credentials, *scopes: Scope) -> Auditor:
    """An operator with one of these scopes, who is about to read what other people wrote.

    Raises:
        HttpError: the request presents nothing.
        UnauthorizedError: it presents something that opens nothing.
        ForbiddenError: it presents an app's key, or the operator's token has none of the scopes.
    """
    operator = await admit_operator(request, credentials, scopes)
    return Auditor(operator_id=operator.operator_id, correlation_id=correlation_id(request))


async def admit_operator(request: HttpRequest, credentials: Credentials, scopes: Sequence[Scope]) -> OperatorView:
    """An operator with one of these scopes.

    Raises:
        HttpError: the request presents nothing.
        UnauthorizedError: it presents something that opens nothing.
        ForbiddenError: it presents an app's key, or the operator's token has none of the scopes.
    """
    token = bearer_token(request)
    if not token.startswith(TOKEN_PREFIX):
        await credentials.app(token)
        raise ForbiddenError("This is for operators: an app's key does not open it.")
    operator = await credentials.operator(token)
    if operator.scopes.isdisjoint(scopes):
        raise ForbiddenError(_missing(scopes))
    return operator


def require_scope(operator: OperatorView, scope: Scope) -> None:
    """Let an operator pass who has this scope.

    Raises:
        ForbiddenError: the token has not got it.
    """
    if scope not in operator.scopes:
        raise ForbiddenError(_missing((scope,)))


def context_of(request: HttpRequest, operator: OperatorView) -> Context:
    """The metadata of what an operator's request records."""
    return Context(actor=Actor("operator", str(operator.operator_id)), correlation_id=correlation_id(request))


async def require_reader(
    request: HttpRequest, credentials: Credentials, query: Query, scopes: Sequence[Scope] = CONTENT
) -> Caller | Auditor:
    """An app, within what is its own; or an operator with one of these scopes, who may read everything.

    Raises:
        HttpError: the request presents nothing, or names its user with too long a name.
        UnauthorizedError: it presents something that opens nothing.
        RateLimitedError: the app's caller asks too often.
        ForbiddenError: the operator's token has none of the scopes.
    """
    token = bearer_token(request)
    if not token.startswith(TOKEN_PREFIX):
        app = await credentials.app(token)
        return counted(request, Caller(app=app, user=query.user(), correlation_id=correlation_id(request)))
    operator = await credentials.operator(token)
    if operator.scopes.isdisjoint(scopes):
        raise ForbiddenError(_missing(scopes))
    return Auditor(operator_id=operator.operator_id, correlation_id=correlation_id(request))


def _missing(scopes: Sequence[Scope]) -> str:
    if len(scopes) == 1:
        return f"The token needs the scope {scopes[0]}."
    return f"The token needs one of these scopes: {', '.join(scopes)}."
