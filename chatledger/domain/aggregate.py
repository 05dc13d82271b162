"""What all aggregates share: an id, a version, and the events that a command has recorded.

The shape satisfies the protocols of the ``eventsourcing`` library (originator id and version, ``collect_events``), so
its event stores and test cases accept these aggregates although nothing here imports it.
"""

from collections.abc import Iterable
from typing import Generic, Self, TypeVar
from uuid import UUID

import msgspec

B = TypeVar("B", bound=msgspec.Struct)


class Recorded(msgspec.Struct, Generic[B], frozen=True):
    """An event at its place in its stream. Versions count from 1 without gaps."""

    originator_id: UUID
    originator_version: int
    body: B


class Aggregate(Generic[B]):
    """Commands call :meth:`_record`; state changes only in :meth:`apply`."""

    def __init__(self, aggregate_id: UUID) -> None:
        self.id = aggregate_id
        self.version = 0
        self._pending: list[Recorded[B]] = []

    def apply(self, body: B) -> None:
        """Fold one event into the state. Decides nothing and raises nothing."""
        raise NotImplementedError

    def _record(self, body: B) -> None:
        self._pending.append(Recorded(self.id, self.version + 1, body))
        self._fold(body)

    def _fold(self, body: B) -> None:
        self.apply(body)
        self.version += 1

    def collect_events(self) -> list[Recorded[B]]:
        """The events recorded since the last call, in order; the caller now owns their fate."""
        collected = self._pending
        self._pending = []
        return collected

    @classmethod
    def fold(cls, aggregate_id: UUID, bodies: Iterable[B]) -> Self:
        """The aggregate after these events."""
        aggregate = cls(aggregate_id)
        return aggregate.fold_on(bodies)

    def fold_on(self, bodies: Iterable[B]) -> Self:
        """This aggregate after these further events."""
        for body in bodies:
            self._fold(body)
        return self
