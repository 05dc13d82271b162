"""Signatures of what webhooks send, by the Standard Webhooks specification 1.0.0: its symmetric scheme, ``v1``."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from uuid import UUID, uuid5

from chatledger.application.errors import InvalidParameterError

SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with, not a secret
FEWEST_BYTES = 24
MOST_BYTES = 64
"""How long a secret may be, by the specification."""

_NEW_BYTES = 32


def new_secret() -> str:
    """A secret of an endpoint, as its receiver's library takes it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_NEW_BYTES)).decode()


def accept_secret(given: object) -> str:
    """A secret that an operator brings along.

    Raises:
        InvalidParameterError: it is none. The text quotes nothing of it.
    """
    try:
        length = len(_key(given)) if isinstance(given, str) and given.startswith(SECRET_PREFIX) else 0
    except ValueError:
        length = 0
    if not isinstance(given, str) or not FEWEST_BYTES <= length <= MOST_BYTES:
        reason = f"secret must be {SECRET_PREFIX} and the base64 of {FEWEST_BYTES} to {MOST_BYTES} bytes"
        raise InvalidParameterError("secret", reason)
    return given


def webhook_id(endpoint_id: UUID, event_id: UUID) -> str:
    """What a receiver knows a delivery by: the same however often an event is sent to an endpoint."""
    return f"msg_{uuid5(endpoint_id, str(event_id)).hex}"


def signed_headers(secrets_in_force: Iterable[str], message_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The headers that let a receiver check who sent a body, and when: one signature by each secret.

    Args:
        secrets_in_force: the secret, and while it takes the place of another one, that other too.
        message_id: of :func:`webhook_id`.
        timestamp: of this attempt, in seconds since the epoch.
        body: as it is sent, to the byte.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets_in_force),
    }


def _signature(secret: str, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
