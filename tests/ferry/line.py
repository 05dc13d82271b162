"""A ferry line, written with the ``eventsourcing`` library alone: nothing here has heard of chatledger."""

from abc import abstractmethod
from typing import Any, ClassVar
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import AggregateNotFoundError, Application, ProcessingEvent
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking, TrackingRecorder
from eventsourcing.projection import Projection
from eventsourcing.system import ProcessApplication, System


class FullError(Exception):
    """No seat is free."""


class Crossing(Aggregate):
    @event("Scheduled")
    def __init__(self, harbour: str, seats: int) -> None:
        self.harbour = harbour
        self.seats = seats
        self.passengers: list[str] = []

    def book(self, passenger: str) -> None:
        if len(self.passengers) == self.seats:
            raise FullError
        self._book(passenger)

    @event("Booked")
    def _book(self, passenger: str) -> None:
        self.passengers.append(passenger)


class Ferry(Application[UUID]):
    snapshotting_intervals: ClassVar = {Crossing: 10}

    def schedule(self, harbour: str, seats: int = 1_000) -> UUID:
        crossing = Crossing(harbour, seats)
        self.save(crossing)
        return crossing.id

    def book(self, crossing_id: UUID, passenger: str) -> int:
        """The position of the booking."""
        crossing = self.repository.get(crossing_id)
        crossing.book(passenger)
        return self.save(crossing)[-1].notification.id

    def passengers(self, crossing_id: UUID, version: int | None = None) -> list[str]:
        return self.repository.get(crossing_id, version=version).passengers


class Loaf(Aggregate):
    def __init__(self, flour: str) -> None:
        self.flour = flour


class Bakery(Application[UUID]):
    """Somebody else's, on the same ledger."""

    def bake(self, flour: str) -> int:
        """The position of the loaf."""
        return self.save(Loaf(flour))[-1].notification.id


# Who follows the ferry: an application that records events of its own, and a view


class Regular(Aggregate):
    def __init__(self, name: str) -> None:
        self.name = name
        self.bookings = 0

    @staticmethod
    def create_id(name: str) -> UUID:
        return uuid5(NAMESPACE_URL, f"/regulars/{name}")

    @event("Booked")
    def book(self) -> None:
        self.bookings += 1


class Harbour(ProcessApplication[UUID]):
    @singledispatchmethod
    def policy(self, domain_event: Any, processing_event: ProcessingEvent[UUID]) -> None:
        pass

    @policy.register
    def _(self, domain_event: Crossing.Booked, processing_event: ProcessingEvent[UUID]) -> None:
        try:
            regular = self.repository.get(Regular.create_id(domain_event.passenger))
        except AggregateNotFoundError:
            regular = Regular(domain_event.passenger)
        regular.book()
        processing_event.collect_events(regular)

    def bookings(self, passenger: str) -> int:
        try:
            return self.repository.get(Regular.create_id(passenger)).bookings
        except AggregateNotFoundError:
            return 0


class ManifestView(TrackingRecorder):
    """Who is on which crossing."""

    @abstractmethod
    def add(self, crossing_id: UUID, passenger: str, tracking: Tracking) -> None: ...

    @abstractmethod
    def passengers(self, crossing_id: UUID) -> list[str]: ...


class Manifest(Projection[ManifestView]):
    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.insert_tracking(tracking)

    @process_event.register
    def _(self, domain_event: Crossing.Booked, tracking: Tracking) -> None:
        if domain_event.passenger == "a stowaway":
            raise ValueError("nobody of that name may board")
        self.view.add(domain_event.originator_id, domain_event.passenger, tracking)


line = System(pipes=[[Ferry, Harbour]])
