"""What a handler returns: bytes that are ready, under the request's own id."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request
from litestar.response.base import ASGIResponse

from chatledger.application.ledger.envelope import from_microseconds

HttpRequest = Request[Any, Any, Any]

encode = msgspec.json.Encoder().encode

_CORRELATION = "correlation_id"
_HEADERS = "answer_headers"


def correlation_id(request: HttpRequest) -> UUID:
    """The request's own id: the same in its events and in its ``X-Request-Id``."""
    state = request.scope["state"]
    known: UUID | None = state.get(_CORRELATION)
    if known is None:
        known = state[_CORRELATION] = request.app.state.new_id()
    return known


def add_header(request: HttpRequest, name: str, value: str) -> None:
    """Let the answer to this request have one more header, whatever the answer will be."""
    request.scope["state"].setdefault(_HEADERS, {})[name] = value


def answer_headers(request: HttpRequest) -> dict[str, str]:
    """The headers of every answer."""
    headers = {"x-request-id": str(correlation_id(request)), **request.scope["state"].get(_HEADERS, {})}
    if request.app.cors_config is not None:
        # Said to all: what a cache keeps of an answer to no page could not be read by the page that asks next.
        headers["vary"] = "Origin"
    if request.app.state.shutdown.has_begun:
        headers["connection"] = "close"  # the next request is another server's
    return headers


def answer(
    request: HttpRequest, content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> ASGIResponse:
    """A JSON answer."""
    all_headers = answer_headers(request)
    if headers:
        all_headers.update(headers)
    return ASGIResponse(body=encode(content), status_code=status, media_type="application/json", headers=all_headers)


def no_content(request: HttpRequest, headers: Mapping[str, str] | None = None) -> ASGIResponse:
    """An answer without a body."""
    return ASGIResponse(status_code=204, headers=answer_headers(request) | dict(headers or {}))


def epoch_seconds(microseconds: int) -> int:
    """A time as Dify's routes give it: whole seconds, truncated."""
    return microseconds // 1_000_000


def rfc3339(microseconds: int) -> str:
    """A time as our own routes give it: RFC 3339 in UTC, exact to the microsecond."""
    return from_microseconds(microseconds).isoformat(timespec="microseconds").replace("+00:00", "Z")
