"""Moments of the past that callers name: by a position of the ledger, or by a time."""

from datetime import datetime
from typing import TypeAlias

import msgspec

from chatledger.application.errors import InvalidParameterError
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.periods import parse_time
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.storage import LAST_POSITION, LedgerReading

_REASON = "as_of must be a position of the ledger, or a time like 2026-01-31T12:00:00Z (RFC 3339)"


class Recorded(msgspec.Struct, frozen=True):
    """All that was recorded at a time, in microseconds, or before."""

    moment: int


AsOf: TypeAlias = int | str | datetime | Recorded
"""A position (a number, or a text of digits), or a time (RFC 3339 with an offset, or a datetime that has one)."""


async def position_of(as_of: AsOf, ledger: LedgerReading, clock: Clock) -> int:
    """The position that a moment stands for.

    Raises:
        InvalidParameterError: it is none, or is yet to come.
    """
    wanted, head = accept_as_of(as_of), await ledger.head()
    match wanted:
        case Recorded(moment) if moment <= max(to_microseconds(clock.now()), head.recorded_at):
            return await ledger.position_at(moment)
        case int() if wanted <= head.position:
            return wanted
    raise InvalidParameterError("as_of", "as_of must not be beyond the end of the ledger")


def accept_as_of(given: object) -> int | Recorded:
    """A position, or the time that stands for one.

    Raises:
        InvalidParameterError: it is neither.
    """
    match given:
        case bool():
            pass
        case Recorded():
            return given
        case int() if 0 <= given <= LAST_POSITION:
            return given
        case str() if given.isascii() and given.isdigit():
            # Python reads no number of very many digits. One of 20 is beyond any ledger, and so is a longer one.
            return accept_as_of(int(given.lstrip("0")[:20] or "0"))
        case str():
            try:
                return Recorded(to_microseconds(parse_time(given)))
            except (ValueError, OverflowError):
                pass
        case datetime() if given.tzinfo is not None:
            return Recorded(to_microseconds(given))
    raise InvalidParameterError("as_of", _REASON)
