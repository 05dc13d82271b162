"""Stable stored names of event types, and the chain that lifts an old stored form to the newest one."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

B = TypeVar("B", bound=type[msgspec.Struct])

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the fields of one schema version to those of the next. Pure. Of an erased event the sealed ones are missing."""


class UnknownEventError(LookupError):
    """A stored event has a name or a schema version that this release does not know."""


class EventType(msgspec.Struct, frozen=True):
    """One event type: its stored name, its newest schema version, and the upcasters from each older version."""

    name: str
    schema: int
    body: type[msgspec.Struct]
    upcasters: tuple[Upcaster, ...]

    def upcast(self, schema: int, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a stored event of any older version, as the newest version has them.

        Raises:
            UnknownEventError: the version is newer than this release, or below 1.
        """
        if not 1 <= schema <= self.schema:
            raise UnknownEventError(f"{self.name} version {schema}; this release knows 1 to {self.schema}")
        for upcaster in self.upcasters[schema - 1 :]:
            fields = upcaster(fields)
        return fields


class EventRegistry:
    """All event types by stored name."""

    def __init__(self) -> None:
        self._by_name: dict[str, EventType] = {}
        self._by_body: dict[type, EventType] = {}

    def register(self, name: str, *upcasters: Upcaster) -> Callable[[B], B]:
        """Store a type under a name for ever; one upcaster for each version before the newest."""

        def keep(body: B) -> B:
            if name in self._by_name:
                raise ValueError(f"the name {name} is taken")
            event_type = EventType(name, len(upcasters) + 1, body, upcasters)
            self._by_name[name] = event_type
            self._by_body[body] = event_type
            return body

        return keep

    def of(self, body: type) -> EventType:
        """The registered type of an event's class.

        Raises:
            UnknownEventError: the class was never registered.
        """
        try:
            return self._by_body[body]
        except KeyError:
            raise UnknownEventError(body.__name__) from None

    def named(self, name: str) -> EventType:
        """The type stored under a name.

        Raises:
            UnknownEventError: no type was ever registered under it.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownEventError(name) from None

    def __iter__(self) -> Iterator[EventType]:
        return iter(self._by_name.values())
