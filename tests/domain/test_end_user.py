"""An end user, met for the first time."""

import pytest

from chatledger.domain.end_user import SHARED_EXTERNAL_ID, EndUser
from chatledger.domain.events import EndUserSeen
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
