"""Operators: the tokens that look after the ledger."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, no_content, rfc3339
from chatledger.adapters.http.auth import admit_operator, context_of, require_operator
from chatledger.adapters.http.bodies import read_body, text_field
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.openapi import BODY_ERRORS, SHOWS, Operation, documented
from chatledger.adapters.http.reading import require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.domain.values import Scope

PREFIX = "/v1/admin/operators"


class OperatorObject(msgspec.Struct, frozen=True, kw_only=True):
    """An operator whose token opens something. Times are RFC 3339 in UTC."""

    operator_id: UUID
    name: str
    scopes: Sequence[Scope]
    issued_at: str


class OperatorList(msgspec.Struct, frozen=True):
    """All of them, oldest first."""

    data: Sequence[OperatorObject]


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Whose the token is to be, and what it is to open."""

    name: Annotated[str, msgspec.Meta(pattern=SHOWS)]
    scopes: Annotated[Sequence[Scope], msgspec.Meta(min_length=1)]


class TokenObject(msgspec.Struct, frozen=True):
    """A new token. It is shown this once."""

    operator_id: UUID
    token: str


_LIST = Operation(
    tag="Operators",
    summary="List operators",
    description="For operators with the scope `audit` or `operate`.",
    credential="operator",
    answers={200: OperatorList},
)
_ISSUE = Operation(
    tag="Operators",
    summary="Issue an operator's token",
    description="For operators with the scope `operate`, who give out no scope that they have not got themselves.",
    credential="operator",
    body=TokenRequest,
    answers={201: TokenObject},
    errors=BODY_ERRORS,
)
_REVOKE = Operation(
    tag="Operators",
    summary="Revoke an operator's token",
    description="For operators with the scope `operate`. Doing so again changes nothing.",
    credential="operator",
    answers={204: None},
    errors=(404,),
)


def operator_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    credentials, operators = surface.application.credentials, surface.application.operators

    @get(PREFIX, opt=documented(_LIST))
    async def list_operators(request: HttpRequest) -> ASGIResponse:
        await admit_operator(request, credentials, ("audit", "operate"))
        found = [
            OperatorObject(
                operator_id=each.operator_id,
                name=each.name,
                scopes=sorted(each.scopes),
                issued_at=rfc3339(each.issued_at),
            )
            for each in await operators.list()
        ]
        return answer(request, OperatorList(found))

    @post(PREFIX, status_code=201, opt=documented(_ISSUE))
    async def issue_token(request: HttpRequest) -> ASGIResponse:
        operator = await admit_operator(request, credentials, ("operate",))
        body = await read_body(request, surface.settings)
        scopes = body.get("scopes")
        if not isinstance(scopes, list):
            raise invalid("scopes", "scopes must be a list")
        issued = await operators.issue(
            text_field(body, "name") or "", scopes, context_of(request, operator), within=operator.scopes
        )
        return answer(request, TokenObject(issued.operator_id, issued.token), status=201)

    @post(f"{PREFIX}/{{operator_id:uuid}}/revoke", status_code=200, opt=documented(_REVOKE))
    async def revoke_token(request: HttpRequest, operator_id: FromPath[UUID]) -> ASGIResponse:
        context = await require_operator(request, credentials)
        require_plain_path(request, operator_id)
        await operators.revoke(operator_id, context)
        return no_content(request)

    return list_operators, issue_token, revoke_token
