"""Where each subscription stands, and the streams that it has parked."""

from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from chatledger.application.ledger.envelope import Fact
from chatledger.application.ports.storage import EventRow


class EffectFailedError(Exception):
    """A subscription's own code failed; what it raised is the cause. Nothing was written."""


class SupersededError(Exception):
    """Another version of the projection has taken over its tables."""


class Delivery(msgspec.Struct, frozen=True):
    """One event on its way to a subscription.

    Attributes:
        row: as it is stored.
        content: the event with its metadata, or what keeps this release from reading it.
    """

    row: EventRow
    content: Fact | Exception

    @property
    def position(self) -> int:
        """Its place in the ledger."""
        return self.row.position

    @property
    def stream_id(self) -> UUID:
        """The stream that it is of."""
        return self.row.stream_id

    @property
    def version(self) -> int:
        """Its version in its stream."""
        return self.row.version

    def fact(self) -> Fact:
        """The event with its metadata; raises where it cannot be read."""
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


class ParkedStream(msgspec.Struct, frozen=True):
    """A stream whose events a subscription leaves out, from one on that failed again and again.

    Attributes:
        version: of the first event that is left out.
        position: of the same.
        error: the type of what was raised, without its text, which may quote what somebody wrote.
        parked_at: when it last failed, in microseconds since the epoch.
        is_to_be_retried: somebody asked for it, and it has not been done yet.
    """

    subscription: str
    stream_id: UUID
    version: int
    position: int
    error: str
    parked_at: int
    is_to_be_retried: bool


class SubscriptionStanding(msgspec.Struct, frozen=True):
    """What is on record of a subscription.

    Attributes:
        position: of the last event that it is done with; 0 before the first.
        retries: parked streams that somebody asked to retry.
    """

    position: int
    retries: Sequence[ParkedStream]


class Tracking(Protocol):
    """The positions of all subscriptions, in the ledger's own database.

    Everything here raises :class:`~chatledger.application.ports.storage.StorageUnavailableError` where the store is in
    trouble; then nothing was written.
    """

    async def begin(self, name: str, position: int) -> int:
        """Where the subscription stands: at ``position``, if it is new."""
        ...

    async def standing(self, name: str) -> SubscriptionStanding:
        """Where it stands, and what it is to try again."""
        ...

    async def move(self, name: str, position: int) -> None:
        """It is done with everything up to here. A position never falls: a lower one changes nothing."""
        ...

    async def park(self, name: str, after: int, delivery: Delivery, error: str) -> int:
        """Park the stream of the event that comes after a position, and move on past it; the position then.

        Where the subscription does not stand at ``after`` any more, nothing happens.
        """
        ...

    async def parked(self, name: str, limit: int) -> list[ParkedStream]:
        """Its parked streams, oldest failure first."""
        ...

    async def parked_stream(self, name: str, stream_id: UUID) -> ParkedStream | None:
        """One of them."""
        ...

    async def parked_among(self, name: str, stream_ids: Collection[UUID]) -> set[UUID]:
        """Those of the streams that are parked."""
        ...

    async def count_parked(self, name: str) -> int:
        """How many there are."""
        ...

    async def request_retry(self, name: str, stream_id: UUID) -> bool:
        """Ask whoever runs the subscription to try a parked stream again. False where it is not parked."""
        ...

    async def retry_failed(self, parked: ParkedStream, error: str) -> None:
        """It failed once more: it stays parked until somebody asks again."""
        ...

    async def done_with(self, parked: ParkedStream) -> ParkedStream | None:
        """Its first event is done: the next one that is left out comes first now. None: there was no other."""
        ...


class TrackedProjection(Protocol):
    """A projection whose effect and position are one transaction: each event counts exactly once.

    It may run in several processes: they take turns. Everything here raises ``StorageUnavailableError`` where the store
    is in trouble, :class:`SupersededError` where another version has taken over, and :class:`EffectFailedError` where
    the projection's own code fails; in each case nothing was written.
    """

    @property
    def name(self) -> str:
        """What it is tracked under."""
        ...

    async def begin(self) -> int:
        """Prepare its tables, and start it anew if its version is another than the one on record; where it stands."""
        ...

    async def project(self, after: int, deliveries: Sequence[Delivery], end: int) -> int:
        """The effect of events that follow a position, as many as fit into one short transaction; the position then.

        ``end`` is where the projection stands after the last of them. Where it does not stand at ``after`` any more,
        nothing happens. Events of parked streams are passed over.
        """
        ...

    async def project_parked(self, parked: ParkedStream, delivery: Delivery) -> ParkedStream | None:
        """The effect of a parked stream's first event, and :meth:`Tracking.done_with` in the same transaction."""
        ...

    async def restart(self) -> None:
        """Empty it and begin again before the first event."""
        ...
