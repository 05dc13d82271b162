"""Pages of what operators look over: a cursor is the id that the page before ended with."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from chatledger.adapters.http.errors import HttpError, invalid
from chatledger.adapters.http.reading import Query, read_uuid
from chatledger.application.accepting import DEFAULT_PAGE, MAX_PAGE
from chatledger.application.errors import NotFoundError
from chatledger.application.ports.views import Page


def page_of(query: Query) -> Page:
    """The page that a request asks for.

    Raises:
        HttpError: no page ended so.
        InvalidParameterError: a page is not that long.
    """
    return Page(query.integer("limit", DEFAULT_PAGE, 1, MAX_PAGE), _beyond(query.text("cursor")))


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
