"""The API's own description (OpenAPI 3.1), made of the routes themselves and what stands beside each of them."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from litestar.routes import BaseRoute, HTTPRoute

from chatledger.adapters.http.errors import ErrorBody
from chatledger.application.accepting import DEFAULT_PAGE, IDEMPOTENCY_KEY, MAX_PAGE, MAX_USER_CHARACTERS

OPERATION = "operation"
"""The option of a route handler that holds its :class:`Operation`."""

EVENT_STREAM = "text/event-stream"

_REF = "#/components/schemas/{name}"
_STREAM_EVENT = _REF.format(name="StreamEvent")
_DESCRIPTIONS = {
    200: "Done.",
    201: "Made.",
    202: "Accepted.",
    204: "Done.",
    206: "The part that was asked for.",
    400: "A value is missing or not acceptable, or the app's mode has no such route.",
    401: "The credential is missing or opens nothing.",
    403: "The credential is not for this, or the provider refuses the app's credentials.",
    404: "It does not exist, or belongs to somebody else.",
    408: "The body was begun, and not sent on.",
    409: (
        "It is done or under way already, another message has not been answered yet, a legal hold is in the way, or "
        "the ledger is not what was signed."
    ),
    410: "The content has been erased.",
    413: "The body, or a field of it, is too large.",
    415: "The body is not declared as what it has to be.",
    416: "The file has no such part.",
    422: "The idempotency key is another request's, or its message has been deleted.",
    429: "Asked too often, at a ceiling, or a quota is used up; `Retry-After` says when to ask again.",
    500: "An error inside the server.",
    501: "The server does not do this; the message says what would let it.",
    503: "The server drains, is at a bound, or its store is in trouble; `Retry-After` says when to ask again.",
}

BODY_ERRORS = (400, 413, 415)

Credential = Literal["app", "visitor", "reader", "operator"]

_SECURITY: Mapping[Credential | None, list[dict[str, list[str]]]] = {
    None: [],
    "app": [{"app": []}],
    "visitor": [{"passport": []}, {"app_passport": []}],
    "reader": [{"app": []}, {"operator": []}],
    "operator": [{"operator": []}],
}
_CREDENTIAL_ERRORS: Mapping[Credential | None, tuple[int, ...]] = {
    None: (),
    "app": (401, 403, 429),
    "visitor": (400, 401, 404, 429),
    "reader": (401, 403, 429),
    "operator": (401, 403),
}

_HEADERS = {
    202: ("Location", "Where to see what becomes of it."),
    401: ("WWW-Authenticate", "How to present a credential."),
    429: ("Retry-After", "Seconds after which to ask again."),
    503: ("Retry-After", "Seconds after which to ask again."),
}

FORM = "multipart/form-data"
BINARY = "application/octet-stream"
ANY_TYPE = "*/*"

Upload = Annotated[str, msgspec.Meta(extra_json_schema={"format": "binary"})]
"""The bytes of a file in a form."""

User = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_USER_CHARACTERS)]
"""A person, as the app calls them."""

SHOWS = r"\S"
"""The pattern of a text that is more than blanks."""

_UUID = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
OptionalId = Annotated[str, msgspec.Meta(pattern=rf"^(?:{_UUID})?$")]
"""A UUID, or an empty text that stands for none."""


def whole_number(low: int, high: int, *, default: int) -> Any:
    """The type of a bounded number."""
    return Annotated[int, msgspec.Meta(ge=low, le=high, extra_json_schema={"default": default})]


class Parameter(msgspec.Struct, frozen=True):
    """One value in the query string or in a header."""

    name: str
    description: str
    type: Any = str
    where: Literal["query", "header"] = "query"
    required: bool = False


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to know of one route.

    Attributes:
        credential: an app's key; a visitor's passport; an app's key or an operator's token; the latter alone; or none.
        body: the shape of the request body.
        body_type: its media type.
        answers: by status, the shape of each answer, its media type where it is no JSON, or None where it has no body.
        streams: whether the 200 can also be an event stream.
        event: the shape of what each event of the stream holds, where it is not one of the message API's.
        files: the media types in which the 200 can also come.
        errors: the statuses of its refusals, beside those that its credential and the store bring.
    """

    tag: str
    summary: str
    description: str = ""
    credential: Credential | None = "app"
    parameters: tuple[Parameter, ...] = ()
    body: type | None = None
    body_type: str = "application/json"
    body_required: bool = True
    answers: Mapping[int, Any]
    streams: bool = False
    event: type | None = None
    files: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()


USER_PARAMETER = Parameter("user", "Whose. Left out, the call acts as the owner of what it names.", User)
LIMIT_PARAMETER = Parameter("limit", "How many at most.", whole_number(1, MAX_PAGE, default=DEFAULT_PAGE))
AS_OF_PARAMETER = Parameter(
    "as_of",
    "A position of the ledger, or a time (RFC 3339): the answer is what it was then. Not beyond the ledger's end.",
)
CURSOR_PARAMETER = Parameter("cursor", "Where the page before ended.")
IDEMPOTENCY_PARAMETER = Parameter(
    "Idempotency-Key",
    "What the client calls the request by: sent again under its key it is the same message, and the answer carries "
    "`Idempotent-Replayed: true`.",
    Annotated[str, msgspec.Meta(pattern=f"^{IDEMPOTENCY_KEY}$")],
    where="header",
)
TRACE_PARAMETERS = (
    Parameter("trace_id", "1 to 128 letters, digits, `-`, `_`; kept with what the request records."),
    Parameter("X-Trace-Id", "The same as `trace_id`, and before it.", where="header"),
)


def documented(operation: Operation) -> dict[str, Any]:
    """The ``opt`` of a route handler."""
    return {OPERATION: operation}


def api_document(routes: Iterable[BaseRoute], version: str, stream_event: Any) -> bytes:
    """The description of these routes, as JSON. Handlers without an :class:`Operation` are no part of the API.

    ``stream_event`` is the type of what each event of a stream holds.
    """
    found = sorted(
        (route.path_format, method.lower(), handler.opt[OPERATION], dict(route.path_parameters))
        for route in routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if OPERATION in handler.opt
        for method in handler.http_methods
        if method != "HEAD"
    )
    types = [*_types(operation for _, _, operation, _ in found), stream_event]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    components["StreamEvent"] = schema_of[id(stream_event)]
    paths: dict[str, dict[str, Any]] = {}
    for path, method, operation, path_parameters in found:
        paths.setdefault(path, {})[method] = _operation(path, method, operation, path_parameters, schema_of)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "chatledger",
            "version": version,
            "description": "A message API for chat apps, compatible with Dify's, on an event-sourced ledger.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "app": {"type": "http", "scheme": "bearer", "description": "An app's key, `app-...`."},
                "passport": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A visitor's passport, from `/api/passport`.",
                },
                "app_passport": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-App-Passport",
                    "description": "The same passport in a header of its own.",
                },
                "operator": {"type": "http", "scheme": "bearer", "description": "An operator's token, `op-...`."},
            },
        },
    }
    return msgspec.json.encode(document)


def _types(operations: Iterable[Operation]) -> list[Any]:
    """Every type that needs a schema, each once. Compared by identity: unions and aliases need not be hashable."""
    types: dict[int, Any] = {id(ErrorBody): ErrorBody}
    for operation in operations:
        for kind in (
            operation.body,
            operation.event,
            *operation.answers.values(),
            *(given.type for given in operation.parameters),
        ):
            if kind is not None and not isinstance(kind, str):
                types[id(kind)] = kind
    return list(types.values())


def _operation(
    path: str, method: str, operation: Operation, path_parameters: Mapping[str, Any], schema_of: Mapping[int, Any]
) -> dict[str, Any]:
    words = [word.strip("{}").replace("-", "_") for word in path.split("/") if word]
    described: dict[str, Any] = {
        "operationId": "_".join((method, *words)),
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": _responses(operation, schema_of),
        "security": _SECURITY[operation.credential],
    }
    if operation.description:
        described["description"] = operation.description
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(definition)}
        for name, definition in path_parameters.items()
    ]
    parameters += [
        {
            "name": given.name,
            "in": given.where,
            "required": given.required,
            "description": given.description,
            "schema": schema_of[id(given.type)],
        }
        for given in operation.parameters
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        content = {operation.body_type: {"schema": schema_of[id(operation.body)]}}
        if operation.body_type == FORM:
            content[FORM]["encoding"] = {"file": {"contentType": BINARY}}
        described["requestBody"] = {"required": operation.body_required, "content": content}
    return described


def _path_schema(definition: Any) -> dict[str, str]:
    return {"type": "string", "format": "uuid"} if definition.type.__name__ == "UUID" else {"type": "string"}


def _event(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "Each event of the stream.",
        "properties": {
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": content},
            "id": {"type": "string", "description": "Where asked for: what `Last-Event-ID` takes."},
        },
        "required": ["data"],
    }


def _responses(operation: Operation, schema_of: Mapping[int, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    event = _event({"$ref": _STREAM_EVENT} if operation.event is None else schema_of[id(operation.event)])
    for status, kind in operation.answers.items():
        if kind is None:
            content: dict[str, Any] = {}
        elif isinstance(kind, str):
            content = {kind: {"schema": event if kind == EVENT_STREAM else {"type": "string"}}}
        else:
            content = {"application/json": {"schema": schema_of[id(kind)]}}
        if operation.streams and status == 200:
            content[EVENT_STREAM] = {"schema": event}
        if status == 200:
            content |= {media_type: {"schema": {"type": "string"}} for media_type in operation.files}
        responses[str(status)] = _response(status, content)
    error = {"application/json": {"schema": schema_of[id(ErrorBody)]}}
    of_the_store = (500, 503) if operation.credential else ()
    for status in sorted({*_CREDENTIAL_ERRORS[operation.credential], *operation.errors, *of_the_store}):
        responses[str(status)] = _response(status, error)
    return responses


def _response(status: int, content: Mapping[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": _DESCRIPTIONS[status]}
    if content:
        response["content"] = content
    if status in _HEADERS:
        name, description = _HEADERS[status]
        response["headers"] = {name: {"description": description, "schema": {"type": "string"}}}
    return response
