"""Idempotency keys: a request that is sent again under its key is no other message."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from chatledger.application.errors import IdempotencyKeyReusedError
from chatledger.application.fingerprints import fingerprint_of
from chatledger.application.ledger.envelope import to_microseconds
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.keys import Keyring
from chatledger.application.ports.storage import IdempotencyGuard
from chatledger.application.ports.views import KnownRequest, Views

MICROSECONDS_PER_HOUR = 3_600_000_000


class KeyedRequest(msgspec.Struct, frozen=True):
    """A person's request under a key.

    Attributes:
        key: a keyed hash of the key.
        fingerprint: one of what is asked.
    """

    end_user_id: UUID
    key: str
    fingerprint: str


class IdempotencyKeys:
    """Which message a key stands for. The keys themselves are kept nowhere.

    Args:
        hours: how long a key stands for its message, from the commit of that on.
    """

    def __init__(self, views: Views, keyring: Keyring, clock: Clock, hours: float) -> None:
        self._views = views
        self._keyring = keyring
        self._clock = clock
        self._window = int(hours * MICROSECONDS_PER_HOUR)

    async def keyed(self, end_user_id: UUID, key_id: UUID, key: str, request: Mapping[str, Any]) -> KeyedRequest:
        """What is on record of a request and its key.

        Raises:
            InvalidParameterError: the inputs cannot be compared with others.
        """
        return KeyedRequest(
            end_user_id,
            await fingerprint_of(self._keyring, key_id, "idempotency key", key),
            await fingerprint_of(self._keyring, key_id, "request under a key", request),
        )

    def guards(self, keyed: KeyedRequest | None) -> tuple[IdempotencyGuard, ...]:
        """What has to hold when the message is committed: that its key, where it came with one, stands for no other."""
        return () if keyed is None else (IdempotencyGuard(keyed.end_user_id, keyed.key, self._window),)

    async def find(self, keyed: KeyedRequest) -> KnownRequest | None:
        """The message that the key stands for; None where it is free.

        Raises:
            IdempotencyKeyReusedError: it is another request's, or its message is there no more.
        """
        since = to_microseconds(self._clock.now()) - self._window
        known = await self._views.message_of_key(keyed.end_user_id, keyed.key, since)
        if known is None:
            return None
        if known.fingerprint != keyed.fingerprint:
            raise IdempotencyKeyReusedError("Another request was sent under this key.")
        if known.is_deleted:
            raise IdempotencyKeyReusedError("What was sent under this key has been deleted.")
        return known
