"""What a passport has to be, and whose signature counts."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from chatledger.adapters.http.passports import Passport, Passports
from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.signing import StoredSigningKeys
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.application.errors import UnauthorizedError
from chatledger.application.system_clock import new_id
from tests.support.master_keys import master_key

LIFETIME = 3_600
START = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
ADA = Passport(UUID(int=1), "A1b2C3d4E5f6G7h8", UUID(int=2))


class HandSetClock:
    """Shows what it was set to."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def pass_by(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def clock() -> HandSetClock:
    return HandSetClock()


@pytest.fixture(scope="module")
def signing_keys(tmp_path_factory: pytest.TempPathFactory, clock: HandSetClock) -> Iterator[StoredSigningKeys]:
    folder = Path(tmp_path_factory.mktemp("keys"))
    keyring = StoredKeyring(SqliteKeyStore(folder / "keys.db"), master_key(folder), new_id)
    yield StoredSigningKeys(keyring, clock, "passports")
    keyring.close()


@pytest.fixture(scope="module")
def passports(signing_keys: StoredSigningKeys, clock: HandSetClock) -> Passports:
    return Passports(signing_keys, clock, LIFETIME)


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, claims, signature = token.split(".")
    return read(header), read(claims), signature


def read(part: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return content


def written(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def refused(passports: Passports, token: str) -> bool:
    with pytest.raises(UnauthorizedError):
        passports.check(token)
    return True


def test_a_passport_says_who_it_is_for_and_until_when(passports, signing_keys, clock):
    token = passports.issue(ADA)
    header, claims, _ = parts_of(token)
    now = int(clock.now().timestamp())

    assert passports.check(token) == ADA
    assert header == {"typ": "JWT", "alg": "HS256", "kid": str(signing_keys.newest().key_id)}
    assert claims == {
        "iss": "chatledger",
        "sub": "Web API Passport",
        "app_id": str(ADA.app_id),
        "app_code": ADA.app_code,
        "end_user_id": str(ADA.end_user_id),
        "iat": now,
        "exp": now + LIFETIME,
    }


def test_it_is_good_until_its_end_and_not_after(passports, clock):
    token = passports.issue(ADA)
    clock.pass_by(LIFETIME - 1)
    assert passports.check(token) == ADA
    clock.pass_by(1)
    assert refused(passports, token)


def test_a_changed_one_is_refused(passports):
    header, claims, signature = passports.issue(ADA).split(".")
    other = written(read(claims) | {"end_user_id": str(UUID(int=3))})
    assert refused(passports, f"{header}.{other}.{signature}")
    assert refused(passports, f"{header}.{claims}.{signature[:-2]}")
    assert refused(passports, f"{header}.{claims}.")
    assert refused(passports, f"{header}.{claims}")


@pytest.mark.parametrize("algorithm", ["none", "None", "HS384", "HS512", "RS256", "EdDSA", "dir", "", None])
def test_its_header_does_not_choose_the_algorithm(passports, signing_keys, algorithm):
    header, claims, signature = passports.issue(ADA).split(".")
    other = written(read(header) | {"alg": algorithm})
    assert refused(passports, f"{other}.{claims}.{signature}")
    assert refused(passports, f"{other}.{claims}.")


def test_another_algorithm_under_the_right_key_is_refused(passports, signing_keys):
    header, claims, _ = parts_of(passports.issue(ADA))
    key = OctKey.import_key(signing_keys.newest().secret)
    token = jwt.encode(header | {"alg": "HS512"}, claims, key, ["HS512"])
    assert refused(passports, token)
    assert refused(passports, jwt.encode(header | {"alg": "RS256"}, claims, RSAKey.generate_key(2048), ["RS256"]))


@pytest.mark.parametrize("kid", [None, "", 5, "unknown", str(UUID(int=9)), ["a"]])
def test_a_key_that_is_none_of_ours_is_refused(passports, signing_keys, kid):
    header, claims, _ = parts_of(passports.issue(ADA))
    for secret in (signing_keys.newest().secret, bytes(32)):
        named = written(header | {"kid": kid})
        signed = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(secret), ["HS256"])
        assert refused(passports, f"{named}.{written(claims)}.{signed.rpartition('.')[2]}")
        assert refused(passports, signed)


def test_another_secret_under_the_name_of_our_key_is_refused(passports):
    header, claims, _ = parts_of(passports.issue(ADA))
    assert refused(passports, jwt.encode(header, claims, OctKey.import_key(bytes(32)), ["HS256"]))


@pytest.mark.parametrize("claim", ["iss", "sub", "app_id", "app_code", "end_user_id", "iat", "exp"])
@pytest.mark.parametrize("value", [None, "", "other", 5.5, [], {}])
def test_a_claim_that_is_missing_or_wrong_is_refused_though_it_is_signed(passports, signing_keys, claim, value):
    header, claims, _ = parts_of(passports.issue(ADA))
    key = OctKey.import_key(signing_keys.newest().secret)
    # Any text can be a code: whether the app has it is not the passport's to say.
    if claim != "app_code" or not isinstance(value, str):
        assert refused(passports, jwt.encode(header, claims | {claim: value}, key, ["HS256"]))
    del claims[claim]
    assert refused(passports, jwt.encode(header, claims, key, ["HS256"]))


def test_the_newest_key_signs_and_an_earlier_one_counts_until_its_passports_have_ended(passports, signing_keys, clock):
    earlier = passports.issue(ADA)
    clock.pass_by(10)
    signing_keys.rotate(forget_earlier=False)
    later = passports.issue(ADA)

    assert parts_of(later)[0]["kid"] == str(signing_keys.newest().key_id) != parts_of(earlier)[0]["kid"]
    assert passports.check(earlier) == passports.check(later) == ADA
    clock.pass_by(LIFETIME - 10)
    assert refused(passports, earlier)
    assert passports.check(later) == ADA


def test_a_retired_key_cannot_be_used_to_forge_a_longer_life(passports, signing_keys, clock):
    retired = signing_keys.newest()
    signing_keys.rotate(forget_earlier=False)
    header, claims, _ = parts_of(passports.issue(ADA))
    key = OctKey.import_key(retired.secret)
    last = int(clock.now().timestamp()) + LIFETIME

    def forged(end: int) -> str:
        return jwt.encode(header | {"kid": str(retired.key_id)}, claims | {"exp": end}, key, ["HS256"])

    assert passports.check(forged(last)) == ADA
    assert refused(passports, forged(last + 1))


def test_what_a_forgotten_key_signed_counts_for_nothing(passports, signing_keys):
    earlier = passports.issue(ADA)
    signing_keys.rotate(forget_earlier=True)
    assert refused(passports, earlier)
    assert passports.check(passports.issue(ADA)) == ADA


@given(st.one_of(st.text(), st.lists(st.text(), min_size=3, max_size=3).map(".".join), st.binary().map(repr)))
def test_no_text_is_more_than_refused(passports, text):
    assert refused(passports, text)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "b64", "crit", "x"]), JSON), JSON)
def test_no_header_and_no_claims_are_more_than_refused(passports, header, claims):
    assert refused(passports, f"{written(header)}.{written(claims)}.AAAA")


def test_a_token_that_nests_deep_is_refused(passports):
    deep = base64.urlsafe_b64encode(b"[" * 40_000).rstrip(b"=").decode()
    assert refused(passports, f"{deep}.{deep}.AAAA")
