"""Every field of every event says who may read it without a key."""

from typing import Annotated

import msgspec
import pytest

from chatledger.domain.events import REGISTRY
from chatledger.domain.visibility import Public, Sealed, UndeclaredFieldError, visibilities


@pytest.mark.parametrize("event_type", list(REGISTRY), ids=lambda event_type: event_type.name)
def test_every_registered_event_declares_every_field(event_type) -> None:
    declared = visibilities(event_type.body)
    assert tuple(declared) == event_type.body.__struct_fields__
    assert set(declared.values()) <= {"public", "sealed"}


class Plain(msgspec.Struct, frozen=True):
    known: Public[int]
    forgotten: str


class Remarked(msgspec.Struct, frozen=True):
    forgotten: Annotated[str, "a remark"]


class Constrained(msgspec.Struct, frozen=True):
    forgotten: Annotated[str, msgspec.Meta(max_length=3)]


class OtherExtra(msgspec.Struct, frozen=True):
    forgotten: Annotated[str, msgspec.Meta(extra={"colour": "blue"})]


class Both(msgspec.Struct, frozen=True):
    forgotten: Public[Sealed[str]]


@pytest.mark.parametrize("body", [Plain, Remarked, Constrained, OtherExtra, Both], ids=lambda body: body.__name__)
def test_a_field_that_is_not_declared_once_is_found_out(body) -> None:
    with pytest.raises(UndeclaredFieldError, match=rf"^{body.__name__}\.forgotten must be declared Public or Sealed$"):
        visibilities(body)


class Declared(msgspec.Struct, frozen=True):
    shown: Public[int]
    hidden: Sealed[str | None]
    bounded: Sealed[Annotated[str, msgspec.Meta(max_length=3)]] = ""


def test_declared_fields_are_told_in_their_order() -> None:
    assert list(visibilities(Declared).items()) == [("shown", "public"), ("hidden", "sealed"), ("bounded", "sealed")]


def test_an_event_without_fields_has_nothing_to_declare() -> None:
    class Bare(msgspec.Struct, frozen=True):
        pass

    assert visibilities(Bare) == {}
