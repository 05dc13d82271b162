"""Reading a request's headers and query string."""

import re
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from chatledger.adapters.http.answers import HttpRequest
from chatledger.adapters.http.errors import HttpError, invalid
from chatledger.application.accepting import (
    accept_choice,
    accept_idempotency_key,
    accept_number,
    accept_user,
    is_trace,
)
from chatledger.application.as_of import AsOf, accept_as_of
from chatledger.domain.inputs import is_storable, read_flag

_AS_SURROGATES = "surrogateescape"

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def header(request: HttpRequest, name: bytes) -> str | None:
    """The first value of a header, whose name is given in lower case."""
    for key, value in request.scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


class Query:
    """The query string. An empty value counts as absent: a widespread client sends what its caller left out so.

    It is UTF-8, percent-encoded or raw (WHATWG URL, section 5.1). Other bytes are kept apart until somebody reads them:
    to replace them would make one user of several.
    """

    def __init__(self, request: HttpRequest) -> None:
        given = request.scope["query_string"].decode(errors=_AS_SURROGATES)
        self._values: dict[str, str] = {}
        for name, value in parse_qsl(given, keep_blank_values=True, errors=_AS_SURROGATES):
            self._values.setdefault(name, value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str) -> str | None:
        """A value as it was sent, or None.

        Raises:
            HttpError: it is no UTF-8.
        """
        value = self._values.get(name) or None
        if value is not None and not is_storable(value):
            raise invalid(name, f"{name} must be a text in UTF-8")
        return value

    def user(self) -> str | None:
        """The person that the request speaks for, or None.

        Raises:
            HttpError: the name is no UTF-8.
            InvalidParameterError: it is too long.
        """
        return user_named(self.text("user"))

    def as_of(self) -> AsOf | None:
        """The moment of the past that is asked about, or None for now.

        Raises:
            InvalidParameterError: it is neither a position nor a time.
        """
        text = self.text("as_of")
        return None if text is None else accept_as_of(text)

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds.

        Raises:
            InvalidParameterError: it is none, or out of bounds.
        """
        text = self.text(name)
        if text is None:
            return default
        return accept_number(name, int(text) if _INTEGER.fullmatch(text) else text, low, high)

    def flag(self, name: str) -> bool | None:
        """A boolean in any of its usual spellings, or None.

        Raises:
            HttpError: it is none.
        """
        text = self.text(name)
        found = None if text is None else read_flag(text)
        if text is not None and found is None:
            raise invalid(name, f"{name} must be a boolean")
        return found

    def uuid(self, name: str) -> UUID | None:
        """An id, or None.

        Raises:
            HttpError: it is not a UUID.
        """
        text = self.text(name)
        return None if text is None else parse_uuid(name, text)

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> Any:
        """One of a few words.

        Raises:
            InvalidParameterError: it is another one.
        """
        return accept_choice(name, self.text(name) or default, choices)


def user_named(given: object) -> str | None:
    """The person that a request speaks for, in whatever type it is given.

    Raises:
        InvalidParameterError: the name is too long.
    """
    return accept_user(str(given)) if given else None


def read_uuid(text: str) -> UUID | None:
    """An id in its one spelling, with hyphens; ``UUID`` itself takes many others."""
    return UUID(text) if _UUID.fullmatch(text) else None


def parse_uuid(field: str, text: str) -> UUID:
    """An id in a query or body.

    Raises:
        HttpError: it is not a UUID.
    """
    found = read_uuid(text)
    if found is None:
        raise invalid(field, f"{field} must be a valid UUID")
    return found


def require_plain_path(request: HttpRequest, known: UUID) -> None:
    """Refuse an id that the path does not spell plainly: a malformed one names nothing.

    Raises:
        HttpError: the router read it from another spelling.
    """
    if str(known) not in request.scope["path"].lower().split("/"):
        raise HttpError(404)


def idempotency_key(request: HttpRequest) -> str | None:
    """What the client calls the request by, or None.

    Raises:
        InvalidParameterError: it is no such key.
    """
    given = header(request, b"idempotency-key")
    return None if given is None else accept_idempotency_key("Idempotency-Key", given)


def trace_id(request: HttpRequest, query: Query, in_body: object = None) -> str | None:
    """What the caller wants to be traced by: the first usable one of header, query, body and ``traceparent``."""
    for candidate in (header(request, b"x-trace-id"), query.text("trace_id"), in_body, header(request, b"traceparent")):
        if isinstance(candidate, str) and is_trace(candidate):
            return candidate
    return None
