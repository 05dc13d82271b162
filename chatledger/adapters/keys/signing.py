"""The signing keys, in the key store beside the data keys."""

import os
import sqlite3
import threading
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chatledger.adapters.keys.cipher import KEY_BYTES, NONCE_BYTES, subkey
from chatledger.adapters.keys.store import MasterKeyError, key_store_errors
from chatledger.application.ledger.envelope import from_microseconds, to_microseconds
from chatledger.application.ports.clock import Clock, IdFactory
from chatledger.application.ports.keys import SigningKey

_SCHEMA = """
CREATE TABLE IF NOT EXISTS signing_keys (
    key_id BLOB PRIMARY KEY,
    wrapped BLOB NOT NULL,
    retired_at INTEGER
) WITHOUT ROWID
"""


class SqliteSigningKeys:
    """All signing keys, few enough to be at hand. The first one is made where there is none.

    Raises:
        MasterKeyError: the master key is not the one that wrapped the keys in the file.
        StorageUnavailableError: the key store cannot be read or written.
    """

    def __init__(self, path: Path, master_key: bytes, clock: Clock, new_id: IdFactory) -> None:
        self._clock = clock
        self._new_id = new_id
        self._wrapping = AESGCM(subkey(master_key, b"signing"))
        self._turn = threading.Lock()
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        path.chmod(0o600)
        try:
            self._known = self._open(path)
        except BaseException:
            self._file.close()
            raise

    def _open(self, path: Path) -> dict[UUID, SigningKey]:
        with key_store_errors():
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=FULL")
            self._file.execute(_SCHEMA)
            rows = self._file.execute("SELECT key_id, wrapped, retired_at FROM signing_keys").fetchall()
        try:
            known = {key.key_id: key for key in (self._unwrap(*row) for row in rows)}
        except (InvalidTag, ValueError):
            raise MasterKeyError(f"the master key does not open the signing keys in {path}") from None
        if not known:
            first = SigningKey(self._new_id(), os.urandom(KEY_BYTES))
            self._replace({first.key_id: first})
            known = {first.key_id: first}
        return known

    def newest(self) -> SigningKey:
        """What signs. Never blocks."""
        return next(key for key in self._known.values() if key.retired_at is None)

    def find(self, key_id: UUID) -> SigningKey | None:
        """A key, if it was not forgotten. Never blocks."""
        return self._known.get(key_id)

    def rotate(self, *, forget_earlier: bool) -> SigningKey:
        """A new newest key, durable once it is given. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be written; nothing has changed.
        """
        fresh = SigningKey(self._new_id(), os.urandom(KEY_BYTES))
        with self._turn:
            now = self._clock.now()
            earlier = () if forget_earlier else self._known.values()
            keys = {key.key_id: _retired(key, now) for key in earlier} | {fresh.key_id: fresh}
            self._replace(keys)
            self._known = keys
        return fresh

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _replace(self, keys: dict[UUID, SigningKey]) -> None:
        rows = [(key.key_id.bytes, self._wrap(key), _stored(key.retired_at)) for key in keys.values()]
        with key_store_errors():
            self._file.execute("BEGIN IMMEDIATE")
            try:
                self._file.execute("DELETE FROM signing_keys")
                self._file.executemany("INSERT INTO signing_keys VALUES (?, ?, ?)", rows)
                self._file.execute("COMMIT")
            except BaseException:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
                raise

    def _wrap(self, key: SigningKey) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._wrapping.encrypt(nonce, key.secret, key.key_id.bytes)

    def _unwrap(self, key_id: bytes, wrapped: bytes, retired_at: int | None) -> SigningKey:
        secret = self._wrapping.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], key_id)
        return SigningKey(UUID(bytes=key_id), secret, None if retired_at is None else from_microseconds(retired_at))


def _retired(key: SigningKey, now: datetime) -> SigningKey:
    return key if key.retired_at is not None else msgspec.structs.replace(key, retired_at=now)


def _stored(moment: datetime | None) -> int | None:
    return None if moment is None else to_microseconds(moment)
