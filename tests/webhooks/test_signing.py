"""Signatures, as the library of the specification's makers sees them."""

import base64
import time
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from chatledger.application.errors import InvalidParameterError
from chatledger.application.webhooks.signing import (
    FEWEST_BYTES,
    MOST_BYTES,
    SECRET_PREFIX,
    accept_secret,
    new_secret,
    signed_headers,
    webhook_id,
)

keys = st.binary(min_size=FEWEST_BYTES, max_size=MOST_BYTES).map(
    lambda key: SECRET_PREFIX + base64.b64encode(key).decode()
)


@given(keys, st.text())
def test_the_makers_library_accepts_every_signature(secret: str, text: str) -> None:
    body = text.encode()
    headers = signed_headers([accept_secret(secret)], "msg_1", int(time.time()), body)
    Webhook(secret).verify(body, dict(headers), json_parse=False)


@given(keys, st.binary(min_size=1))
def test_it_computes_the_same_signature_itself(secret: str, raw: bytes) -> None:
    from datetime import UTC, datetime

    at, body = datetime(2026, 11, 26, tzinfo=UTC), raw.hex()
    headers = signed_headers([secret], "msg_1", int(at.timestamp()), body.encode())
    assert headers["webhook-signature"] == Webhook(secret).sign("msg_1", at, body)


def test_while_secrets_are_exchanged_either_will_do() -> None:
    old, new, other = new_secret(), new_secret(), new_secret()
    headers = dict(signed_headers([new, old], "msg_1", int(time.time()), b"{}"))
    assert Webhook(old).verify(b"{}", headers) == Webhook(new).verify(b"{}", headers) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(b"{}", headers)


@pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp", "body"])
def test_whatever_is_signed_cannot_be_changed(changed: str) -> None:
    secret, body = new_secret(), b"{}"
    headers = dict(signed_headers([secret], "msg_1", int(time.time()), body))
    if changed == "body":
        body = b"[]"
    elif changed == "webhook-timestamp":
        headers[changed] = str(int(headers[changed]) + 1)
    else:
        headers[changed] += "0"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)


def test_an_event_has_one_id_for_each_endpoint() -> None:
    endpoint, other, event = uuid4(), uuid4(), uuid4()
    assert webhook_id(endpoint, event) == webhook_id(endpoint, event)
    assert len({webhook_id(endpoint, event), webhook_id(other, event), webhook_id(endpoint, UUID(int=1))}) == 3


@pytest.mark.parametrize(
    "given_secret",
    [
        None,
        7,
        "",
        "whsec_",
        "whsec_!!!!",
        "whsec_" + base64.b64encode(bytes(FEWEST_BYTES - 1)).decode(),
        "whsec_" + base64.b64encode(bytes(MOST_BYTES + 1)).decode(),
        base64.b64encode(bytes(32)).decode(),
        "whsec_" + "ä" * 40,
    ],
)
def test_what_is_no_secret_is_refused_without_being_quoted(given_secret: object) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        accept_secret(given_secret)
    assert refused.value.field == "secret"
    assert not given_secret or str(given_secret) not in str(refused.value) or given_secret in ("whsec_", 7)
