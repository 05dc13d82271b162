"""The endpoints of webhooks: for operators to register, to look after, and to have told again."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, no_content, rfc3339
from chatledger.adapters.http.auth import require_operator
from chatledger.adapters.http.bodies import Body, read_body, text_field
from chatledger.adapters.http.cursors import number_after
from chatledger.adapters.http.errors import invalid
from chatledger.adapters.http.openapi import BODY_ERRORS, LIMIT_PARAMETER, Operation, Parameter, documented
from chatledger.adapters.http.reading import Query, parse_uuid, require_plain_path
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE
from chatledger.application.commands.managing_webhooks import (
    LARGEST_POSITION,
    LONGEST_OVERLAP,
    LONGEST_URL,
    MOST_POSITIONS,
    OVERLAP,
    EndpointState,
)
from chatledger.application.context import Context
from chatledger.application.ports.webhooks import Undelivered
from chatledger.application.queries.feed import EVENT_TYPES, NOW
from chatledger.domain.values import DisabledFor, Scope

PREFIX = "/v1/admin/webhooks"

_Url = Annotated[str, msgspec.Meta(max_length=LONGEST_URL, pattern="^https?://")]
_EventType = Annotated[str, msgspec.Meta(pattern=f"^(?:{'|'.join(sorted(EVENT_TYPES))})$")]
_Positions = Annotated[
    list[Annotated[int, msgspec.Meta(ge=1, le=LARGEST_POSITION)]], msgspec.Meta(max_length=MOST_POSITIONS)
]
_Overlap = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_OVERLAP)]


class EndpointRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint to be told of an app's events, or of those of all apps; of these types, or of all.

    ``after`` is a cursor of the feed; by default it is told of what happens from now on, and with null of everything.
    """

    url: _Url
    app_id: UUID | None = None
    types: list[_EventType] | None = None
    secret: str | None = None
    after: str | None = NOW


class SecretRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Another secret, a new one by default; the one so far signs too for ``overlap`` seconds."""

    secret: str | None = None
    overlap: _Overlap = OVERLAP


class PlaceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A cursor of the feed: what comes after it; null for everything."""

    after: str | None


class LettersRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The positions of dead events; null for all of them."""

    positions: _Positions | None = None


class RegisteredObject(msgspec.Struct, frozen=True):
    """A new endpoint. The secret is shown this once."""

    endpoint_id: UUID
    secret: str


class SecretObject(msgspec.Struct, frozen=True):
    """The secret that signs from here on, shown this once."""

    secret: str


class EndpointObject(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint. Times are RFC 3339 in UTC.

    ``position`` is that of the ledger up to which everything was taken, or is waiting or dead. ``failing_since`` is
    there while it takes nothing.
    """

    endpoint_id: UUID
    url: str
    app_id: UUID | None
    types: Sequence[str]
    created_at: str
    disabled_for: DisabledFor | None
    position: int
    waiting: int
    dead: int
    failing_since: str | None
    paused_until: str | None


class EndpointList(msgspec.Struct, frozen=True):
    """All endpoints, the first that was registered first."""

    data: Sequence[EndpointObject]


class TrialObject(msgspec.Struct, frozen=True):
    """Whether a trial was taken; the status, or why there was none."""

    is_success: bool
    outcome: str


class EndpointLetterObject(msgspec.Struct, frozen=True):
    """An event that was given up on; ``error`` is the status that it met, or why there was none."""

    position: int
    attempts: int
    error: str | None
    failed_at: str | None


class EndpointLetterList(msgspec.Struct, frozen=True):
    """A page of dead events, in their order. ``cursor`` leads to the next page, null if there is none."""

    data: Sequence[EndpointLetterObject]
    has_more: bool
    cursor: str | None


class CountObject(msgspec.Struct, frozen=True):
    """How many there were."""

    count: int


def _operation(
    summary: str, answers: Any, *, body: type | None = None, description: str = "", **more: Any
) -> Operation:
    fields: dict[str, Any] = {"errors": (*(BODY_ERRORS if body else ()), 404)} | more
    named = {"tag": "Webhooks", "summary": summary, "description": description}
    return Operation(**named, credential="operator", body=body, answers=answers, **fields)


_BOTH = "For operators with the scopes `operate` and `audit`: what it is told is on record as read by them."
_LIST = _operation("List the endpoints of webhooks", {200: EndpointList}, errors=())
_SHOW = _operation("Read how far an endpoint was told", {200: EndpointObject})
_ADD = _operation(
    "Have an endpoint told of events",
    {201: RegisteredObject},
    body=EndpointRequest,
    description=f"{_BOTH} What is sent is signed by Standard Webhooks.",
)
_REMOVE = _operation("Remove an endpoint", {204: None})
_ROTATE = _operation("Replace the secret of an endpoint", {200: SecretObject}, body=SecretRequest, body_required=False)
_DISABLE = _operation("Tell an endpoint nothing for now", {204: None})
_ENABLE = _operation("Tell an endpoint again, of what happened meanwhile too", {204: None})
_TEST = _operation("Send an endpoint an event that is none of the ledger", {200: TrialObject})
_REPLAY = _operation(
    "Tell an endpoint everything after a place once more", {204: None}, body=PlaceRequest, description=_BOTH
)
_LETTERS = _operation(
    "List the events that an endpoint has not taken",
    {200: EndpointLetterList},
    parameters=(LIMIT_PARAMETER, Parameter("cursor", "Where the page before ended.")),
    errors=(400, 404),
)
_REPLAY_LETTERS = _operation(
    "Try again what an endpoint has not taken",
    {200: CountObject},
    body=LettersRequest,
    body_required=False,
    description=_BOTH,
)


def webhook_routes(surface: Surface) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    application, settings = surface.application, surface.settings
    webhooks = application.webhooks

    async def operator(request: HttpRequest, endpoint_id: UUID | None = None, *also: Scope) -> Context:
        context = await require_operator(request, application.credentials, "operate", *also)
        if endpoint_id is not None:
            require_plain_path(request, endpoint_id)
        return context

    @get(PREFIX, opt=documented(_LIST))
    async def list_endpoints(request: HttpRequest) -> ASGIResponse:
        await operator(request)
        return answer(request, EndpointList([_endpoint(state) for state in await webhooks.endpoints()]))

    @post(PREFIX, opt=documented(_ADD))
    async def add_endpoint(request: HttpRequest) -> ASGIResponse:
        context = await operator(request, None, "audit")
        body = await read_body(request, settings)
        app_id = text_field(body, "app_id")
        added = await webhooks.register(
            text_field(body, "url") or "",
            context,
            app_id=None if app_id is None else parse_uuid("app_id", app_id),
            types=_listed(body, "types", str) or (),
            secret=text_field(body, "secret"),
            after=text_field(body, "after") if "after" in body else NOW,
        )
        return answer(request, RegisteredObject(added.endpoint_id, added.secret), status=201)

    @get(f"{PREFIX}/{{endpoint_id:uuid}}", opt=documented(_SHOW))
    async def show_endpoint(request: HttpRequest, endpoint_id: FromPath[UUID]) -> ASGIResponse:
        await operator(request, endpoint_id)
        return answer(request, _endpoint(await webhooks.endpoint(endpoint_id)))

    @delete(f"{PREFIX}/{{endpoint_id:uuid}}", status_code=200, opt=documented(_REMOVE))
    async def remove_endpoint(request: HttpRequest, endpoint_id: FromPath[UUID]) -> ASGIResponse:
        await webhooks.remove(endpoint_id, await operator(request, endpoint_id))
        return no_content(request)

    @post(f"{PREFIX}/{{endpoint_id:uuid}}/rotate-secret", status_code=200, opt=documented(_ROTATE))
    async def rotate_secret(request: HttpRequest, endpoint_id: FromPath[UUID]) -> ASGIResponse:
        context = await operator(request, endpoint_id)
        body = await read_body(request, settings, optional=True)
        overlap = body.get("overlap", OVERLAP)
        if not isinstance(overlap, int | float) or isinstance(overlap, bool):
            raise invalid("overlap", "overlap must be a number of seconds")
        secret = text_field(body, "secret")
        return answer(
            request, SecretObject(await webhooks.rotate_secret(endpoint_id, context, secret=secret, overlap=overlap))
        )

    @post(f"{PREFIX}/{{endpoint_id:uuid}}/disable", status_code=200, opt=documented(_DISABLE))
    async def disable_endpoint(request: HttpRequest, endpoint_id: FromPath[UUID]) -> ASGIResponse:
        await webhooks.disable(endpoint_id, await operator(request, endpoint_id))
        return no_content(request)

    @post(f"{PREFIX}/{{endpoint_id:uuid}}/enable", status_code=200, opt=documented(_ENABLE))
    async def enable_endpoint(request: HttpRequest, endpoint_id: FromPath[UUID]) -> ASGIResponse:
        await webhooks.enable(endpoint_id, await operator(request, endpoint_id))
        return no_content(request)

    @post(f"{PREFIX}/{{endpoint_id:uuid}}/test", status_code=200, opt=documented(_TEST))
    async def try_endpoint(request: HttpRequest, endpoint_id: FromPath[UUID]) -> ASGIResponse:
        await operator(request, endpoint_id)
        tried = await webhooks.test(endpoint_id)
        return answer(request, TrialObject(tried.is_success, tried.outcome))

    @post(f"{PREFIX}/{{endpoint_id:uuid}}/replay", status_code=200, opt=documented(_REPLAY))
    async def replay_endpoint(request: HttpRequest, endpoint_id: FromPath[UUID]) -> ASGIResponse:
        context = await operator(request, endpoint_id, "audit")
        body = await read_body(request, settings)
        if "after" not in body:
            raise invalid("after", "after is required, a cursor of the feed or null")
        await webhooks.replay(endpoint_id, text_field(body, "after"), context)
        return no_content(request)

    @get(f"{PREFIX}/{{endpoint_id:uuid}}/dead-letters", opt=documented(_LETTERS))
    async def list_letters(request: HttpRequest, endpoint_id: FromPath[UUID]) -> ASGIResponse:
        await operator(request, endpoint_id)
        query = Query(request)
        limit, after = query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE), number_after(query.text("cursor")) or 0
        letters, has_more = await webhooks.dead_letters(endpoint_id, after, limit)
        cursor = str(letters[-1].position) if has_more else None
        return answer(request, EndpointLetterList([_letter(letter) for letter in letters], has_more, cursor))

    @post(f"{PREFIX}/{{endpoint_id:uuid}}/dead-letters/replay", status_code=200, opt=documented(_REPLAY_LETTERS))
    async def replay_letters(request: HttpRequest, endpoint_id: FromPath[UUID]) -> ASGIResponse:
        context = await operator(request, endpoint_id, "audit")
        body = await read_body(request, settings, optional=True)
        positions = _listed(body, "positions", int)
        return answer(request, CountObject(await webhooks.replay_dead_letters(endpoint_id, context, positions)))

    return (
        list_endpoints,
        add_endpoint,
        show_endpoint,
        remove_endpoint,
        rotate_secret,
        disable_endpoint,
        enable_endpoint,
        try_endpoint,
        replay_endpoint,
        list_letters,
        replay_letters,
    )


def _listed(body: Body, field: str, kind: type) -> list[Any] | None:
    """A list, or None for an absent one. A whole number is one however it is written (JSON Schema, section 4.2.3).

    Raises:
        HttpError: it is something else, or holds something else.
    """
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, list) and kind is int:
        value = [int(each) if isinstance(each, float) and each.is_integer() else each for each in value]
    if not isinstance(value, list) or not all(isinstance(each, kind) and not isinstance(each, bool) for each in value):
        raise invalid(field, f"{field} must be a list of {'numbers' if kind is int else 'texts'}")
    return value


def _endpoint(state: EndpointState) -> EndpointObject:
    endpoint, standing = state.endpoint, state.standing
    progress = None if standing is None else standing.progress
    return EndpointObject(
        endpoint_id=endpoint.endpoint_id,
        url=endpoint.url,
        app_id=endpoint.app_id,
        types=sorted(endpoint.types),
        created_at=rfc3339(endpoint.created_at),
        disabled_for=endpoint.disabled_for,
        position=endpoint.after if progress is None else progress.position,
        waiting=0 if standing is None else standing.waiting,
        dead=0 if standing is None else standing.dead,
        failing_since=_time(None if progress is None else progress.failing_since),
        paused_until=_time((None if progress is None else progress.paused_until) or None),
    )


def _letter(letter: Undelivered) -> EndpointLetterObject:
    return EndpointLetterObject(letter.position, letter.attempts, letter.error, _time(letter.failed_at))


def _time(moment: int | None) -> str | None:
    return None if moment is None else rfc3339(moment)
