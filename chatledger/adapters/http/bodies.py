"""Request bodies, parsed by hand: in the contract's order of checks, within bounds, one line of reason per refusal."""

from typing import Any

import msgspec

from chatledger.adapters.http.answers import HttpRequest
from chatledger.adapters.http.errors import BAD_BODY, HttpError, invalid
from chatledger.adapters.http.openapi import User
from chatledger.adapters.http.reading import header, user_named
from chatledger.adapters.http.settings import HttpSettings
from chatledger.domain.inputs import read_flag

Body = dict[str, Any]


class UserRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that need not say whose: without a user, it is the owner's."""

    user: User | None = None


_CONTAINERS: tuple[type, ...] = (dict, list)

_decode = msgspec.json.Decoder().decode


async def read_body(request: HttpRequest, settings: HttpSettings, *, optional: bool = False) -> Body:
    """The JSON object of a request; with ``optional`` an absent one is empty.

    Raises:
        HttpError: it is not declared as JSON (415), too large (413), no JSON object (400) or nested too deeply (400).
    """
    raw = await _read(request, settings.max_body_bytes)
    if not raw and optional:
        return {}
    if not _is_json(header(request, b"content-type")):
        raise HttpError(415)
    try:
        body = _decode(raw)
    except RecursionError:
        raise _too_deep(settings) from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise HttpError(400, BAD_BODY) from None
    if not isinstance(body, dict):
        raise HttpError(400, BAD_BODY)
    # Nothing nests deeper than it has brackets: most bodies need no walk.
    if raw.count(b"{") + raw.count(b"[") > settings.max_json_depth and _depth(body) > settings.max_json_depth:
        raise _too_deep(settings)
    return body


async def _read(request: HttpRequest, limit: int) -> bytes:
    """The whole body. Reading ends at the limit, whatever the client declares or goes on to send."""
    declared = header(request, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise HttpError(413)
    chunks: list[bytes] = []
    size, has_more = 0, True
    while has_more:
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            raise HttpError(400, BAD_BODY)
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise HttpError(413)
        has_more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _is_json(content_type: str | None) -> bool:
    if content_type == "application/json":
        return True
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def _depth(body: Body) -> int:
    """How deep it nests, without recursion: level by level."""
    depth = 0
    level: list[Any] = [body]
    while level:
        depth += 1
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, _CONTAINERS)
        ]
    return depth


def _too_deep(settings: HttpSettings) -> HttpError:
    reason = f"the request body nests deeper than {settings.max_json_depth} levels"
    return HttpError(400, reason, code="invalid_param")


# Single fields


def required_user(body: Body) -> str:
    """The person that the request speaks for.

    Raises:
        HttpError: it names nobody, or with too long a name.
    """
    user = user_named(body.get("user"))
    if user is None:
        raise invalid("user", "Arg user must be provided.")
    return user


def text_field(body: Body, field: str) -> str | None:
    """A text, or None for an absent one.

    Raises:
        HttpError: it is something else.
    """
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise invalid(field, f"{field} must be a string")
    return value


def flag_field(body: Body, field: str, *, default: bool) -> bool:
    """A boolean, in any of its usual spellings.

    Raises:
        HttpError: it is something else.
    """
    value = body.get(field)
    if value is None:
        return default
    flag = read_flag(value)
    if flag is None:
        raise invalid(field, f"{field} must be a boolean")
    return flag
