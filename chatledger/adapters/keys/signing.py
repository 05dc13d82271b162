"""The signing keys: which of the keys in the key store sign what is given out."""

import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from uuid import UUID

from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.application.ledger.envelope import from_microseconds, to_microseconds
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.keys import KeyDestroyedError, SigningKey

_OF_PURPOSE = "SELECT key_id, retired_at FROM signing_keys WHERE purpose = ?"
_NEWEST = f"{_OF_PURPOSE} AND retired_at IS NULL"
_RETIRE = "UPDATE signing_keys SET retired_at = ? WHERE purpose = ? AND retired_at IS NULL"


class StoredSigningKeys:
    """The keys of one purpose, few enough to be at hand. The first one is made where there is none.

    Args:
        keyring: has their secrets; where it can only be read, nothing is made.
        clock: tells since when a key is retired.
        purpose: no two have a key in common.

    Raises:
        StorageUnavailableError: the key store cannot be read or written.
    """

    def __init__(self, keyring: StoredKeyring, clock: Clock, purpose: str) -> None:
        self._keyring = keyring
        self._purpose = purpose
        self._clock = clock
        self._turn = threading.Lock()
        self._known = self._load()
        if not keyring.store.is_read_only and not any(key.retired_at is None for key in self._known.values()):
            self._add(is_first=True)

    def _load(self) -> dict[UUID, SigningKey]:
        known = {}
        for row in self._keyring.store.read(_OF_PURPOSE, self._purpose):
            key_id, retired_at = UUID(bytes=row[0]), None if row[1] is None else from_microseconds(row[1])
            # Whoever was forgetting it may have come no further.
            with suppress(KeyDestroyedError):
                known[key_id] = SigningKey(key_id, self._keyring.secret(key_id), retired_at)
        return known

    def catch_up(self) -> None:
        """Know what others have rotated and forgotten. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be read.
        """
        with self._turn:
            self._known = self._load()

    def newest(self) -> SigningKey:
        """What signs. Never blocks."""
        return next(key for key in self._known.values() if key.retired_at is None)

    def find(self, key_id: UUID) -> SigningKey | None:
        """A key, if it was not forgotten. Never blocks."""
        return self._known.get(key_id)

    def all(self) -> Sequence[SigningKey]:
        """Every key that was not forgotten, the oldest first. Never blocks."""
        return sorted(self._known.values(), key=lambda key: (key.retired_at is None, key.retired_at))

    def rotate(self, *, forget_earlier: bool) -> SigningKey:
        """A new newest key, durable once it is given. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be written. Nothing has changed, but that earlier keys may be
                on their way out: rotate once more.
        """
        with self._turn:
            self._add()
            if forget_earlier:
                self._forget([key.key_id for key in self._known.values() if key.retired_at is not None])
            return self.newest()

    def _add(self, *, is_first: bool = False) -> None:
        """Put a new key on record and retire the earlier ones, whoever made them; or leave it to who was faster."""
        with self._keyring.writing() as writing:
            if not (is_first and writing.execute(_NEWEST, self._purpose)):
                new = self._keyring.new_key(None)
                self._keyring.add([new], writing)
                writing.execute(_RETIRE, to_microseconds(self._clock.now()), self._purpose)
                writing.execute("INSERT INTO signing_keys VALUES (?, ?, NULL)", new.key_id.bytes, self._purpose)
                self._keyring.tell("signing", [new.key_id], writing)
        self._known = self._load()

    def _forget(self, key_ids: Collection[UUID]) -> None:
        # In this order: of a key that is on no list nobody would know that it is still to be destroyed.
        self._keyring.destroy(key_ids)
        self._keyring.scrub()
        with self._keyring.store.write() as writing:
            writing.execute_many("DELETE FROM signing_keys WHERE key_id = ?", [(key_id.bytes,) for key_id in key_ids])
            self._keyring.tell("signing", key_ids, writing)
        self._known = self._load()
