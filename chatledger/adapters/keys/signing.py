"""The signing keys: which of the keys in the key store sign what is given out."""

import threading
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import msgspec

from chatledger.adapters.keys.store import SqliteKeyring
from chatledger.application.ledger.envelope import from_microseconds, to_microseconds
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.keys import KeyDestroyedError, SigningKey


class SqliteSigningKeys:
    """The keys of one purpose, few enough to be at hand. The first one is made where there is none.

    Args:
        keyring: has their secrets; where it can only be read, nothing is made.
        clock: tells since when a key is retired.
        purpose: no two have a key in common.

    Raises:
        StorageUnavailableError: the key store cannot be read or written.
    """

    def __init__(self, keyring: SqliteKeyring, clock: Clock, purpose: str) -> None:
        self._keyring = keyring
        self._purpose = purpose
        self._clock = clock
        self._turn = threading.Lock()
        self._known = self._load()
        if not keyring.file.is_read_only and all(key.retired_at is not None for key in self._known.values()):
            self._known |= self._add(())

    def _load(self) -> dict[UUID, SigningKey]:
        known = {}
        query = "SELECT key_id, retired_at FROM signing_keys WHERE purpose = ?"
        for row in self._keyring.file.read(query, self._purpose):
            key_id, retired_at = UUID(bytes=row[0]), None if row[1] is None else from_microseconds(row[1])
            # Whoever was forgetting it may have come no further.
            with suppress(KeyDestroyedError):
                known[key_id] = SigningKey(key_id, self._keyring.secret(key_id), retired_at)
        return known

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
            now = self._clock.now()
            earlier = {key_id: _retired(key, now) for key_id, key in self._known.items()}
            fresh = self._add(earlier.values())
            self._known = earlier | fresh
            if forget_earlier:
                self._forget(earlier)
                self._known = fresh
        return self.newest()

    def _forget(self, key_ids: Collection[UUID]) -> None:
        # In this order: of a key that is on no list nobody would know that it is still to be destroyed.
        self._keyring.destroy(key_ids)
        with self._keyring.file.write() as connection:
            connection.executemany("DELETE FROM signing_keys WHERE key_id = ?", [(key_id.bytes,) for key_id in key_ids])

    def _add(self, earlier: Iterable[SigningKey]) -> dict[UUID, SigningKey]:
        """A new key on record, and the earlier ones as they are now."""
        new = self._keyring.new_key(None)
        self._keyring.make_durable([new])
        keys = [*earlier, SigningKey(new.key_id, self._keyring.secret(new.key_id))]
        rows = [(key.key_id.bytes, self._purpose, _stored(key.retired_at)) for key in keys]
        with self._keyring.file.write() as connection:
            connection.executemany("INSERT OR REPLACE INTO signing_keys VALUES (?, ?, ?)", rows)
        return {new.key_id: keys[-1]}


def _retired(key: SigningKey, now: datetime) -> SigningKey:
    return key if key.retired_at is not None else msgspec.structs.replace(key, retired_at=now)


def _stored(moment: datetime | None) -> int | None:
    return None if moment is None else to_microseconds(moment)
