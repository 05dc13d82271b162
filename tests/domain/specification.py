"""Facts about aggregates: given these events, when this is commanded, then these events follow (or a refusal)."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
import pytest

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.errors import DomainError

A = TypeVar("A", bound=Aggregate)

AN_ID = UUID("0198a000-0000-7000-8000-000000000001")


def state_of(aggregate: Aggregate) -> dict[str, Any]:
    """All that anybody outside can see of an aggregate."""
    seen = {name: value for name, value in vars(aggregate).items() if not name.startswith("_")}
    for name, member in vars(type(aggregate)).items():
        if isinstance(member, property):
            seen[name] = member.fget(aggregate)
    return seen


class Given(Generic[A]):
    def __init__(self, kind: type[A], history: Iterable[msgspec.Struct]) -> None:
        self.kind = kind
        self.history = tuple(history)
        self.aggregate = kind.fold(AN_ID, self.history)

    def when(self, command: Callable[[A], Any]) -> "When[A]":
        return When(self, command)

    def is_seen_as(self, **expected: Any) -> None:
        assert {name: getattr(self.aggregate, name) for name in expected} == expected


class When(Generic[A]):
    def __init__(self, given: Given[A], command: Callable[[A], Any]) -> None:
        self.given = given
        self.command = command

    def then(self, *expected: msgspec.Struct) -> None:
        """The command records exactly these, numbered on from the history, and moves the state as they say."""
        produced = self.command(self.given.aggregate)
        aggregate = produced if isinstance(produced, Aggregate) else self.given.aggregate
        recorded = aggregate.collect_events()
        before = len(self.given.history)
        assert [event.body for event in recorded] == list(expected)
        assert [event.originator_version for event in recorded] == [
            before + number for number in range(1, len(expected) + 1)
        ]
        assert {event.originator_id for event in recorded} <= {AN_ID}
        assert aggregate.collect_events() == []
        anew = self.given.kind.fold(AN_ID, (*self.given.history, *expected))
        assert state_of(aggregate) == state_of(anew)

    def then_refused(self, error: type[DomainError]) -> DomainError:
        """The command raises exactly this, records nothing and changes nothing."""
        before = state_of(Given(self.given.kind, self.given.history).aggregate)
        with pytest.raises(error) as raised:
            self.command(self.given.aggregate)
        assert raised.type is error
        assert self.given.aggregate.collect_events() == []
        assert state_of(self.given.aggregate) == before
        return raised.value


def given(kind: type[A], *history: msgspec.Struct) -> Given[A]:
    return Given(kind, history)
