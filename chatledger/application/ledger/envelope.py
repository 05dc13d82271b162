"""An event in its envelope: what happened, where it stands, and when."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from chatledger.application.context import Context
from chatledger.domain.events import Event

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_microseconds(microseconds: int) -> datetime:
    """A stored time as a datetime in UTC, exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_microseconds(moment: datetime) -> int:
    """A datetime as it is stored."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


MICROSECONDS_PER_DAY = 86_400_000_000


def day_of(microseconds: int) -> int:
    """The day of a stored time, in UTC, counted from 1970-01-01."""
    return microseconds // MICROSECONDS_PER_DAY


class Envelope(msgspec.Struct, frozen=True):
    """A committed event.

    Attributes:
        context_position: the position of the row that holds its metadata (actor, cause).
        recorded_at: microseconds since the epoch.
        is_erased: its key was destroyed: whatever was sealed in the body is empty now.
    """

    position: int
    stream_id: UUID
    category: str
    version: int
    event_id: UUID
    recorded_at: int
    context_position: int
    key_id: UUID | None
    body: Event
    is_erased: bool = False

    # The names under which the ``eventsourcing`` library asks for the same two facts.

    @property
    def originator_id(self) -> UUID:
        """The stream."""
        return self.stream_id

    @property
    def originator_version(self) -> int:
        """The version within the stream."""
        return self.version


class Fact(msgspec.Struct, frozen=True):
    """One event with its metadata: what happened, whose doing it was, and why."""

    envelope: Envelope
    context: Context
