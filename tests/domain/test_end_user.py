"""An end user, met for the first time."""

from uuid import UUID

import pytest

from chatledger.domain.end_user import SHARED_EXTERNAL_ID, EndUser
from chatledger.domain.errors import ErasedError, LegalHoldError, NoSuchHoldError, NotRequestedError
from chatledger.domain.events import (
    EndUserErased,
    EndUserKeyRotated,
    EndUserSeen,
    ErasureRequested,
    LegalHoldPlaced,
    LegalHoldReleased,
)
from tests.domain.facts import APP
from tests.domain.specification import AN_ID, given


@pytest.mark.parametrize(
    ("kind", "external_id", "anonymous"),
    [
        ("service-api", "ann", False),
        ("browser", "ann", True),
        ("service-api", SHARED_EXTERNAL_ID, True),
        ("service-api", SHARED_EXTERNAL_ID.lower(), False),
        ("service-api", "", False),
    ],
)
def test_a_person_is_seen(kind, external_id, anonymous) -> None:
    seen = EndUserSeen(app_id=APP, kind=kind, anonymous=anonymous, lookup="keyed-hash", external_id=external_id)
    given(EndUser).when(
        lambda _: EndUser.see(AN_ID, app_id=APP, kind=kind, external_id=external_id, lookup="keyed-hash")
    ).then(seen)
    given(EndUser, seen).is_seen_as(seen=seen, version=1)


def test_the_shared_end_user_keeps_the_name_that_the_wire_gives_it() -> None:
    assert SHARED_EXTERNAL_ID == "DEFAULT-USER"


HOLD, OTHER_HOLD = UUID(int=1), UUID(int=2)
ann = EndUserSeen(app_id=APP, kind="service-api", anonymous=False, lookup="keyed-hash", external_id="ann")
held, also_held = LegalHoldPlaced(hold_id=HOLD, reason="a suit"), LegalHoldPlaced(hold_id=OTHER_HOLD, reason="another")
released, requested = LegalHoldReleased(hold_id=HOLD), ErasureRequested(app_id=APP)
erased = EndUserErased(conversations=2, files=1)


def erase(end_user: EndUser) -> None:
    end_user.erase(conversations=2, files=1)


def test_holds_are_placed_and_released() -> None:
    given(EndUser, ann).when(lambda person: person.place_hold(HOLD, "a suit")).then(held)
    given(EndUser, ann, held).when(lambda person: person.release_hold(HOLD)).then(released)
    given(EndUser, ann, held, also_held, released).is_seen_as(holds={OTHER_HOLD})


@pytest.mark.parametrize("history", [(ann,), (ann, also_held), (ann, held, released)])
def test_a_hold_that_is_not_there_cannot_be_released(history) -> None:
    given(EndUser, *history).when(lambda person: person.release_hold(HOLD)).then_refused(NoSuchHoldError)


@pytest.mark.parametrize("history", [(ann, held), (ann, held, also_held, released)])
def test_a_hold_is_in_the_way_of_an_erasure(history) -> None:
    given(EndUser, *history).when(lambda person: person.request_erasure()).then_refused(LegalHoldError)


@pytest.mark.parametrize("history", [(ann,), (ann, held, released)])
def test_a_person_is_to_be_erased(history) -> None:
    given(EndUser, *history).when(lambda person: person.request_erasure()).then(requested)


def test_an_erasure_is_asked_for_once_and_done_once() -> None:
    given(EndUser, ann, requested).when(lambda person: person.request_erasure()).then()
    given(EndUser, ann, requested).when(erase).then(erased)
    given(EndUser, ann, requested, erased).when(erase).then()
    given(EndUser, ann, requested, erased).is_seen_as(is_to_be_erased=True, is_erased=True)


@pytest.mark.parametrize("history", [(ann, requested), (ann, requested, erased)])
def test_a_hold_comes_too_late_for_whom_is_to_be_erased(history) -> None:
    given(EndUser, *history).when(lambda person: person.place_hold(HOLD, "a suit")).then_refused(ErasedError)


def test_nobody_is_erased_unasked() -> None:
    given(EndUser, ann).when(erase).then_refused(NotRequestedError)


def test_a_persons_key_is_rotated_until_they_are_to_be_erased() -> None:
    rotated = EndUserKeyRotated(4)
    given(EndUser, ann, rotated).when(lambda person: person.rotate_key(4)).then(rotated)
    given(EndUser, ann, requested).when(lambda person: person.rotate_key(4)).then_refused(ErasedError)
