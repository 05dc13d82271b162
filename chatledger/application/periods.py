"""Periods that callers name, by moments or by days."""

import re
from datetime import UTC, date, datetime, time, timedelta

from chatledger.application.errors import InvalidParameterError
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ports.views import Period

Moment = str | date | datetime
"""A time (RFC 3339 with an offset, or a datetime that has one), or a day of UTC."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def accept_period(start: Moment | None, end: Moment | None) -> Period:
    """From a moment on, and up to another, which is no part of it. A day counts whole, as either.

    Raises:
        InvalidParameterError: one of them is no moment, or they leave nothing between them.
    """
    first = None if start is None else _microseconds("start", start, timedelta())
    last = None if end is None else _microseconds("end", end, timedelta(days=1))
    if first is not None and last is not None and last <= first:
        raise InvalidParameterError("end", "end must be after start")
    return Period(first, last)


def _microseconds(field: str, given: Moment, after_day: timedelta) -> int:
    """A moment as it is stored; of a day its beginning, or what is so much later."""
    try:
        moment = _parsed(given) if isinstance(given, str) else given
        if not isinstance(moment, datetime):
            return to_microseconds(datetime.combine(moment, time(), UTC) + after_day)
        if moment.tzinfo is not None:
            return to_microseconds(moment)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InvalidParameterError(field, f"{field} must be a date, or a time like 2026-01-31T12:00:00Z (RFC 3339)")


def _parsed(text: str) -> date | datetime:
    return date.fromisoformat(text) if _DAY.fullmatch(text) else parse_time(text)


def parse_time(text: str) -> datetime:
    """The moment that a time (RFC 3339, with an offset) names; ``fromisoformat`` alone would take much more.

    Raises:
        ValueError: it is none.
    """
    if _TIME.fullmatch(text):
        return datetime.fromisoformat(text.upper())
    raise ValueError(text)
