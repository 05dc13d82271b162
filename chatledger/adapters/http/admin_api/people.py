"""People, as operators have them erased or held."""

from collections.abc import Sequence
from typing import Annotated, Any, get_args
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, no_content, rfc3339
from chatledger.adapters.http.auth import admit_operator, require_auditor, require_operator
from chatledger.adapters.http.bodies import Body, read_body, required_user, text_field
from chatledger.adapters.http.cursors import known_cursor, page_of
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.ledger_api.receipts import ReceiptObject, receipt_file
from chatledger.adapters.http.openapi import (
    BODY_ERRORS,
    CURSOR_PARAMETER,
    LIMIT_PARAMETER,
    SHOWS,
    Operation,
    Parameter,
    User,
    documented,
)
from chatledger.adapters.http.reading import Query, parse_uuid, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import accept_choice
from chatledger.application.application import Application
from chatledger.application.erasure.holding import LONGEST_REASON
from chatledger.application.ports.erasure import Erasure, Hold
from chatledger.domain.values import EndUserKind

USERS, ERASURES, HOLDS = "/v1/admin/users", "/v1/admin/erasures", "/v1/admin/holds"


class PersonRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Whom it is about: one of an app's people by their name there, or anybody by their own id.

    A visitor's ``user`` is their own id, and their ``kind`` is ``browser``. The own id outlives an erasure.
    """

    app_id: UUID | None = None
    user: User | None = None
    kind: EndUserKind = "service-api"
    end_user_id: UUID | None = None


class HoldRequest(PersonRequest, frozen=True, kw_only=True):
    """Whom to hold, and why."""

    reason: Annotated[str, msgspec.Meta(pattern=SHOWS, max_length=LONGEST_REASON)]


class ErasureObject(msgspec.Struct, frozen=True, kw_only=True):
    """The erasing of one person. Times are RFC 3339 in UTC; ``erased_at`` is null until all of it is done."""

    end_user_id: UUID
    app_id: UUID
    requested_at: str
    requested_position: int
    erased_position: int | None


class ErasureList(msgspec.Struct, frozen=True):
    """A page of erasures, the last requested first. ``cursor`` leads to the next page, null if there is none."""

    data: Sequence[ErasureObject]
    has_more: bool
    cursor: str | None


class HoldObject(msgspec.Struct, frozen=True, kw_only=True):
    """A legal hold that was not released. Times are RFC 3339 in UTC."""

    hold_id: UUID
    end_user_id: UUID
    app_id: UUID
    reason: str
    placed_at: str


class HoldList(msgspec.Struct, frozen=True):
    """A page of legal holds, the last placed first. ``cursor`` leads to the next page, null if there is none."""

    data: Sequence[HoldObject]
    has_more: bool
    cursor: str | None


_OF_APP = Parameter("app_id", "Those of this app.", UUID)
_ERASE = Operation(
    tag="Erasure",
    summary="Erase a person",
    description=(
        "For operators with the scope `erase`. From now on whoever comes with their name is a new person. Answers "
        "under way are stopped, the keys are destroyed, and all that was theirs is erased in the background; nothing "
        "can stop that. A legal hold is in the way of it. Asking again, by `end_user_id`, changes nothing."
    ),
    credential="operator",
    body=PersonRequest,
    answers={202: ErasureObject},
    errors=(*BODY_ERRORS, 404, 409),
)
_LIST_ERASURES = Operation(
    tag="Erasure",
    summary="List erasures",
    description="Those that are done and those that are not, for operators with the scope `audit` or `erase`.",
    credential="operator",
    parameters=(_OF_APP, LIMIT_PARAMETER, CURSOR_PARAMETER),
    answers={200: ErasureList},
    errors=(400,),
)
_SHOW_ERASURE = Operation(
    tag="Erasure",
    summary="See how far an erasure has come",
    description="For operators with the scope `audit` or `erase`.",
    credential="operator",
    answers={200: ErasureObject},
    errors=(404,),
)
_PROVE = Operation(
    tag="Erasure",
    summary="Prove that a person was erased",
    description=(
        "A receipt: the events of the person, with who asked for it, when, and how much was theirs, each with the "
        "proof that it is in a signed checkpoint. `chatledger verify` checks it without the server. For operators with "
        "the scope `audit` or `erase`; there is none before it is done."
    ),
    credential="operator",
    answers={200: ReceiptObject},
    errors=(404, 409),
)
_HOLD = Operation(
    tag="Erasure",
    summary="Place a legal hold on a person",
    description=(
        "For operators with the scope `operate`. Nothing of the person's is erased until it is released, neither on "
        "request nor by age. A person may have several."
    ),
    credential="operator",
    body=HoldRequest,
    answers={201: HoldObject},
    errors=(*BODY_ERRORS, 404, 410),
)
_LIST_HOLDS = Operation(
    tag="Erasure",
    summary="List legal holds",
    description="Those that were not released, for operators with the scope `audit` or `operate`.",
    credential="operator",
    parameters=(_OF_APP, LIMIT_PARAMETER, CURSOR_PARAMETER),
    answers={200: HoldList},
    errors=(400,),
)
_RELEASE = Operation(
    tag="Erasure",
    summary="Release a legal hold",
    description="For operators with the scope `operate`.",
    credential="operator",
    answers={204: None},
    errors=(404,),
)


def erasure_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application = surface.application
    credentials, erasing = application.credentials, application.erasing

    @post(f"{USERS}/erase", status_code=202, opt=documented(_ERASE))
    async def erase_person(request: HttpRequest) -> ASGIResponse:
        context = await require_operator(request, credentials, "erase")
        person = await named_person(application, await read_body(request, surface.settings))
        surface.require_open(request)
        erasure = await erasing.request(person, context)
        headers = {"location": f"{ERASURES}/{erasure.end_user_id}"}
        return answer(request, _erasure_object(erasure), status=202, headers=headers)

    @get(ERASURES, opt=documented(_LIST_ERASURES))
    async def list_erasures(request: HttpRequest) -> ASGIResponse:
        await admit_operator(request, credentials, ("audit", "erase"))
        query = Query(request)
        with known_cursor():
            found, has_more = await erasing.page(query.uuid("app_id"), page_of(query))
        cursor = str(found[-1].end_user_id) if has_more else None
        return answer(request, ErasureList([_erasure_object(erasure) for erasure in found], has_more, cursor))

    @get(f"{ERASURES}/{{end_user_id:uuid}}", opt=documented(_SHOW_ERASURE))
    async def show_erasure(request: HttpRequest, end_user_id: FromPath[UUID]) -> ASGIResponse:
        await admit_operator(request, credentials, ("audit", "erase"))
        require_plain_path(request, end_user_id)
        return answer(request, _erasure_object(await erasing.erasure(end_user_id)))

    @get(f"{ERASURES}/{{end_user_id:uuid}}/receipt", opt=documented(_PROVE))
    async def prove_erasure(request: HttpRequest, end_user_id: FromPath[UUID]) -> ASGIResponse:
        auditor = await require_auditor(request, credentials, "audit", "erase")
        require_plain_path(request, end_user_id)
        return receipt_file(request, await application.receipts.of_erasure(auditor, end_user_id))

    return erase_person, list_erasures, show_erasure, prove_erasure


def hold_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application = surface.application
    credentials, holds = application.credentials, application.holds

    @post(f"{USERS}/hold", status_code=201, opt=documented(_HOLD))
    async def place_hold(request: HttpRequest) -> ASGIResponse:
        context = await require_operator(request, credentials)
        body = await read_body(request, surface.settings)
        person = await named_person(application, body)
        hold = await holds.place(person, text_field(body, "reason") or "", context)
        return answer(request, _hold_object(hold), status=201)

    @get(HOLDS, opt=documented(_LIST_HOLDS))
    async def list_holds(request: HttpRequest) -> ASGIResponse:
        auditor = await require_auditor(request, credentials, "audit", "operate")
        query = Query(request)
        with known_cursor():
            found, has_more = await holds.page(auditor, query.uuid("app_id"), page_of(query))
        cursor = str(found[-1].hold_id) if has_more else None
        return answer(request, HoldList([_hold_object(hold) for hold in found], has_more, cursor))

    @post(f"{HOLDS}/{{hold_id:uuid}}/release", status_code=200, opt=documented(_RELEASE))
    async def release_hold(request: HttpRequest, hold_id: FromPath[UUID]) -> ASGIResponse:
        context = await require_operator(request, credentials)
        require_plain_path(request, hold_id)
        await holds.release(hold_id, context)
        return no_content(request)

    return place_hold, list_holds, release_hold


async def named_person(application: Application, body: Body) -> UUID:
    """Whom the body names. Whether there is anybody of that id of ours is for whoever asked to find out."""
    own_id = text_field(body, "end_user_id")
    if own_id is not None:
        return parse_uuid("end_user_id", own_id)
    app_id = text_field(body, "app_id")
    if app_id is None:
        raise invalid("app_id", "app_id is required")
    kind: EndUserKind = accept_choice("kind", body.get("kind") or "service-api", get_args(EndUserKind))
    app = await application.directory.app(parse_uuid("app_id", app_id))
    return await application.end_users.named(app.app_id, kind, required_user(body))


def _erasure_object(erasure: Erasure) -> ErasureObject:
    fields: dict[str, Any] = msgspec.structs.asdict(erasure) | {"requested_at": rfc3339(erasure.requested_at)}
    del fields["key_id"]
    return ErasureObject(**fields)


def _hold_object(hold: Hold) -> HoldObject:
    return HoldObject(**msgspec.structs.asdict(hold) | {"placed_at": rfc3339(hold.placed_at)})
