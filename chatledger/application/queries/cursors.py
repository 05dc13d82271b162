"""Cursors of the change feed: a place on the ledger, and which ledger that is."""

import base64
from uuid import UUID

from chatledger.application.errors import InvalidParameterError

_ID_BYTES = 16
_POSITION_BYTES = 8


def write_cursor(incarnation: UUID, position: int) -> str:
    """The cursor of what follows a position."""
    return base64.urlsafe_b64encode(incarnation.bytes + position.to_bytes(_POSITION_BYTES, "big")).decode()


def read_cursor(field: str, given: str, incarnation: UUID) -> int:
    """The position of a cursor of this ledger.

    Args:
        field: what the caller calls it.
        given: what the caller has.
        incarnation: which ledger this is.

    Raises:
        InvalidParameterError: it is none, or one of another ledger: of a copy, or from before a backup was restored.
    """
    try:
        raw = base64.b64decode(given, altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) != _ID_BYTES + _POSITION_BYTES:
        raise InvalidParameterError(field, f"{field} must be a cursor of the feed")
    other = UUID(bytes=raw[:_ID_BYTES])
    if other != incarnation:
        reason = f"{field} is a cursor of another incarnation of the ledger, {other}; this one is {incarnation}"
        raise InvalidParameterError(field, reason)
    return int.from_bytes(raw[_ID_BYTES:], "big")
