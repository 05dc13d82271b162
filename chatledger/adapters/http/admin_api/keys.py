"""Keys, as operators have them rotated."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.admin_api.people import USERS, PersonRequest, named_person
from chatledger.adapters.http.answers import HttpRequest, answer
from chatledger.adapters.http.auth import require_operator
from chatledger.adapters.http.bodies import read_body
from chatledger.adapters.http.openapi import BODY_ERRORS, Operation, documented
from chatledger.adapters.http.surface import Surface


class MasterKeyRotation(msgspec.Struct, frozen=True):
    """How many keys the new master key wraps."""

    keys: int


class UserKeyRotation(msgspec.Struct, frozen=True):
    """How many keys of the person's conversations and files have a new wrap."""

    end_user_id: UUID
    keys: int


_ROTATE_MASTER = Operation(
    tag="Keys",
    summary="Replace the master key",
    description=(
        "For operators with the scope `operate`. All keys that the master key wraps are wrapped by a new one; the "
        "former one opens nothing any more. No event is written anew, and all that was sealed is read as before. "
        "Where many nodes share the ledger, the new one has to lie beside the present one on each of them: else 409 "
        "`no_successor`."
    ),
    credential="operator",
    answers={200: MasterKeyRotation},
    errors=(409,),
)
_ROTATE_USER = Operation(
    tag="Keys",
    summary="Replace what wraps a person's keys",
    description=(
        "For operators with the scope `operate`. The keys of the person's conversations and files are wrapped by a "
        "new secret. No event is written anew, and all that was sealed is read as before."
    ),
    credential="operator",
    body=PersonRequest,
    answers={200: UserKeyRotation},
    errors=(*BODY_ERRORS, 404, 410),
)


def key_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application = surface.application
    credentials, rotating = application.credentials, application.rotating_keys

    @post("/v1/admin/keys/rotate-master", status_code=200, opt=documented(_ROTATE_MASTER))
    async def rotate_master_key(request: HttpRequest) -> ASGIResponse:
        context = await require_operator(request, credentials)
        surface.require_open(request)
        return answer(request, MasterKeyRotation(await rotating.rotate_master_key(context)))

    @post(f"{USERS}/rotate-key", status_code=200, opt=documented(_ROTATE_USER))
    async def rotate_user_key(request: HttpRequest) -> ASGIResponse:
        context = await require_operator(request, credentials)
        person = await named_person(application, await read_body(request, surface.settings))
        surface.require_open(request)
        return answer(request, UserKeyRotation(person, await rotating.rotate_key_of(person, context)))

    return rotate_master_key, rotate_user_key
