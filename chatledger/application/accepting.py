"""What callers give, in the form that the use cases take, or refused by name."""

import re
from typing import TypeVar, get_args
from uuid import UUID

import msgspec

from chatledger.application.errors import InvalidParameterError, TooLongError
from chatledger.domain.inputs import clean_json, is_storable
from chatledger.domain.values import Json, OnBusy

T = TypeVar("T", bound=str)

MAX_USER_CHARACTERS = 255

_TRACE = re.compile(r"[A-Za-z0-9_-]{1,128}")

MAX_KEY_CHARACTERS = 255
IDEMPOTENCY_KEY = f"[!-~]{{1,{MAX_KEY_CHARACTERS}}}"
"""The form of an idempotency key, as a regular expression."""

MAX_PAGE = 100
MAX_PAGE_NUMBER = 1_000_000
DEFAULT_PAGE = 20


def accept_text(field: str, given: object, longest: int | None = None) -> str:
    """A text without the NUL characters that some stores cannot hold.

    Raises:
        InvalidParameterError: it is something else.
        TooLongError: it has more characters than ``longest``.
    """
    if not isinstance(given, str):
        raise InvalidParameterError(field, f"{field} must be a string")
    text = given.replace("\0", "")
    if longest is not None and len(text) > longest:
        raise TooLongError(field, f"{field} must not be longer than {longest} characters")
    if not is_storable(text):
        raise InvalidParameterError(field, f"{field} must be a text that UTF-8 can hold")
    return text


def accept_name(given: object) -> str:
    """A name that shows: more than blanks.

    Raises:
        InvalidParameterError: it is none.
    """
    name = accept_text("name", given)
    if not name.strip():
        raise InvalidParameterError("name", "name must not be empty")
    return name


def accept_id(field: str, given: object) -> UUID:
    """An id.

    Raises:
        InvalidParameterError: it is something else.
    """
    if not isinstance(given, UUID):
        raise InvalidParameterError(field, f"{field} must be a UUID")
    return given


def accept_user(given: str | None) -> str | None:
    """The person that a caller speaks for; an empty name is nobody's.

    Raises:
        InvalidParameterError: the name is too long, or no text.
    """
    user = "" if given is None else accept_text("user", given)
    if len(user) > MAX_USER_CHARACTERS:
        raise InvalidParameterError("user", f"user must not be longer than {MAX_USER_CHARACTERS} characters")
    return user or None


def accept_json(field: str, given: object, longest: int) -> Json:
    """A JSON value, as it reads once it has been written, without the NUL characters that some stores cannot hold.

    Raises:
        InvalidParameterError: it is none, nests too deep, or holds text that UTF-8 cannot.
        TooLongError: written, it has more bytes than ``longest``.
    """
    try:
        written = msgspec.json.encode(given)
        if len(written) <= longest:
            value: Json = clean_json(msgspec.json.decode(written))
            return value
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParameterError(field, f"{field} must be a JSON value") from error
    raise TooLongError(field, f"{field} must not be longer than {longest} bytes of JSON")


def accept_idempotency_key(field: str, given: object) -> str:
    """What a client calls a request by, so that sending it again is no other one: any visible characters of ASCII.

    Raises:
        InvalidParameterError: it is something else, or too long.
    """
    if not isinstance(given, str) or re.fullmatch(IDEMPOTENCY_KEY, given) is None:
        reason = f"{field} must be 1 to {MAX_KEY_CHARACTERS} visible ASCII characters"
        raise InvalidParameterError(field, reason)
    return given


def is_trace(given: object) -> bool:
    """Whether a caller can be traced by this: by letters, digits, hyphens and underscores, up to 128 of them."""
    return isinstance(given, str) and _TRACE.fullmatch(given) is not None


def accept_number(field: str, given: object, low: int, high: int) -> int:
    """A whole number within bounds.

    Raises:
        InvalidParameterError: it is none, or out of bounds.
    """
    if not isinstance(given, int) or isinstance(given, bool) or not low <= given <= high:
        raise InvalidParameterError(field, f"{field} must be an integer between {low} and {high}")
    return given


def accept_choice(field: str, given: object, choices: tuple[T, ...]) -> T:
    """One of a few words.

    Raises:
        InvalidParameterError: it is another one.
    """
    for choice in choices:
        if choice == given:
            return choice
    raise InvalidParameterError(field, f"{field} must be one of: {', '.join(choices)}")


def accept_on_busy(given: object) -> OnBusy | None:
    """What becomes of a message where others of its conversation are unfinished; None leaves it to the app.

    Raises:
        InvalidParameterError: there is no such word.
    """
    return None if given is None else accept_choice("on_busy", given, get_args(OnBusy))
