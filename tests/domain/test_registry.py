"""Stored names stay, and what was stored under an older schema still folds."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.registry import EventRegistry, UnknownEventError
from chatledger.domain.visibility import Public, Sealed

# An event type of this test only, that has changed twice since it was first stored:
#   1  {"colour": "red"}
#   2  {"colours": ["red"]}
#   3  {"colours": ["red"], "glossy": false}


def to_a_list(fields: dict[str, Any]) -> dict[str, Any]:
    return {"colours": [fields["colour"]]}


def to_glossy(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"glossy": False}


def registry_of(*upcasters: Any) -> tuple[EventRegistry, type]:
    registry = EventRegistry()

    @registry.register("WallPainted", *upcasters)
    class Painted(msgspec.Struct, frozen=True, kw_only=True):
        colours: Sealed[tuple[str, ...]]
        glossy: Public[bool]

    return registry, Painted


class Wall(Aggregate):
    def __init__(self, aggregate_id: UUID) -> None:
        super().__init__(aggregate_id)
        self.coats: list[tuple[str, bool]] = []

    def apply(self, body: Any) -> None:
        self.coats += [(colour, body.glossy) for colour in body.colours]


STORED = [
    (1, b'{"colour":"red"}'),
    (2, b'{"colours":["green","blue"]}'),
    (3, b'{"colours":["white"],"glossy":true}'),
]


def test_what_was_stored_under_each_older_schema_still_folds() -> None:
    registry, painted = registry_of(to_a_list, to_glossy)
    wall = registry.named("WallPainted")
    bodies = [msgspec.convert(wall.upcast(schema, msgspec.json.decode(stored)), painted) for schema, stored in STORED]
    assert Wall.fold(UUID(int=1), bodies).coats == [("red", False), ("green", False), ("blue", False), ("white", True)]


def test_the_newest_schema_is_one_more_than_the_upcasters() -> None:
    assert registry_of()[0].named("WallPainted").schema == 1
    assert registry_of(to_a_list, to_glossy)[0].named("WallPainted").schema == 3


@pytest.mark.parametrize("schema", [-1, 0, 4])
def test_a_schema_that_this_release_does_not_know_is_refused(schema) -> None:
    registry, _ = registry_of(to_a_list, to_glossy)
    with pytest.raises(UnknownEventError, match=rf"^WallPainted version {schema}; this release knows 1 to 3$"):
        registry.named("WallPainted").upcast(schema, {"colour": "red"})


def test_a_name_that_was_never_registered_is_refused() -> None:
    with pytest.raises(UnknownEventError, match=r"^WallPapered$"):
        registry_of()[0].named("WallPapered")


def test_a_class_that_was_never_registered_is_refused() -> None:
    with pytest.raises(UnknownEventError, match=r"^Wall$"):
        registry_of()[0].of(Wall)


def test_a_type_is_found_by_its_class_as_by_its_name() -> None:
    registry, painted = registry_of(to_a_list)
    assert registry.of(painted) is registry.named("WallPainted")
    assert registry.of(painted).body is painted
    assert list(registry) == [registry.named("WallPainted")]


def test_a_name_is_given_once() -> None:
    registry, painted = registry_of()
    with pytest.raises(ValueError, match=r"^the name WallPainted is taken$"):
        registry.register("WallPainted")(Wall)
    assert registry.named("WallPainted").body is painted
