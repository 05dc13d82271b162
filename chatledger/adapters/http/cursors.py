"""Cursors of pages: the id, or the number, that the page before ended with. Those of the feed are its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from chatledger.adapters.http.errors import HttpError, invalid
from chatledger.adapters.http.reading import Query, read_uuid
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE
from chatledger.application.errors import NotFoundError
from chatledger.application.ports.views import Page

_MOST_DIGITS = 18


def page_of(query: Query) -> Page:
    """The page that a request asks for.

    Raises:
        HttpError: no page ended so.
        InvalidParameterError: a page is not that long.
    """
    return Page(query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE), _beyond(query.text("cursor")))


def number_after(cursor: str | None, prefix: str = "") -> int | None:
    """The number that a page goes on after; None for the first one.

    Args:
        cursor: as it was given.
        prefix: what the cursors of this kind of page begin with.

    Raises:
        HttpError: no page ended so.
    """
    if cursor is None:
        return None
    number = whole_number(cursor.removeprefix(prefix)) if cursor.startswith(prefix) else None
    if number is None:
        raise _unknown_cursor()
    return number


def whole_number(text: str) -> int | None:
    """A number in digits, of which none is longer; None where it is something else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


@contextmanager
def known_cursor() -> Iterator[None]:
    """Where there is nothing that the page goes on from, it is the cursor that is wrong.

    Raises:
        HttpError: there is not.
    """
    try:
        yield
    except NotFoundError as error:
        raise _unknown_cursor() from error


def _beyond(cursor: str | None) -> UUID | None:
    found = None if cursor is None else read_uuid(cursor)
    if cursor is not None and found is None:
        raise _unknown_cursor()
    return found


def _unknown_cursor() -> HttpError:
    return invalid("cursor", "cursor must come from an earlier page")
