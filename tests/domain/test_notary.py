"""The notary's keys."""

from chatledger.domain.events import NotaryKeyIntroduced
from chatledger.domain.notary import NOTARY_ID, Notary
from tests.domain.specification import given

first, second = NotaryKeyIntroduced("log+00000001+AQ=="), NotaryKeyIntroduced("log+00000002+Ag==")


def test_a_key_is_introduced_and_one_that_signs_already_is_not() -> None:
    given(Notary).when(lambda notary: notary.introduce_key(first.verifier_key)).then(first)
    given(Notary, first).when(lambda notary: notary.introduce_key(first.verifier_key)).then()
    given(Notary, first).when(lambda notary: notary.introduce_key(second.verifier_key)).then(second)
    given(Notary, first, second).when(lambda notary: notary.introduce_key(first.verifier_key)).then(first)


def test_a_notary_knows_all_of_its_keys() -> None:
    given(Notary, first, second).is_seen_as(verifier_keys=[first.verifier_key, second.verifier_key])
    assert Notary(NOTARY_ID).verifier_keys == []
