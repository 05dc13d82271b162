"""The key store: data keys wrapped by their parents, in a file of their own, apart from the ledger."""

import hashlib
import hmac
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chatledger.adapters.keys.cipher import KEY_BYTES, NONCE_BYTES, AesDataKey, subkey
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.keys import KeyDestroyedError, NewKey, SealBrokenError
from chatledger.application.ports.storage import StorageUnavailableError

CACHED_KEYS = 50_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    key_id BLOB PRIMARY KEY,
    parent_id BLOB,
    wrapped BLOB NOT NULL
) WITHOUT ROWID
"""


class MasterKeyError(Exception):
    """The master key is missing or is not the one of this key store."""


def load_master_key(path: Path) -> bytes:
    """The master key in this file; made, with mode 0600, where there is none.

    Raises:
        MasterKeyError: the file does not hold 32 bytes.
    """
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
        _sync_folder(path.parent)
    secret = path.read_bytes()
    if len(secret) != KEY_BYTES:
        raise MasterKeyError(f"{path} does not hold a key of {KEY_BYTES} bytes")
    return secret


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SqliteKeyring:
    """All data keys. New ones are made durable by the writer, many in one commit.

    Raises:
        MasterKeyError: the master key is not the one that wrapped the keys in the file.
        StorageUnavailableError: the key store cannot be read or written.
    """

    def __init__(self, path: Path, master_key: bytes, new_id: IdFactory, *, read_only: bool = False) -> None:
        self._new_id = new_id
        self._wrapping = AESGCM(subkey(master_key, b"wrapping"))
        self._lookup_key = subkey(master_key, b"lookup")
        self._file_lock = threading.Lock()
        self._cache_lock = threading.Lock()
        self._secrets: OrderedDict[UUID, tuple[bytes, AesDataKey]] = OrderedDict()
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        path.chmod(0o600)
        try:
            self._open(path, read_only=read_only)
        except BaseException:
            self._file.close()
            raise

    def _open(self, path: Path, *, read_only: bool) -> None:
        # Any other error is one of a file that is no key store, which does not pass by itself.
        with key_store_errors(sqlite3.OperationalError):
            if read_only:
                self._file.execute("PRAGMA query_only=ON")
            else:
                self._file.execute("PRAGMA journal_mode=WAL")
                self._file.execute("PRAGMA synchronous=FULL")
                self._file.execute(_SCHEMA)
            row = self._file.execute("SELECT key_id FROM keys WHERE parent_id IS NULL LIMIT 1").fetchone()
        if row is not None:
            try:
                self._fetch(UUID(bytes=row[0]))
            except SealBrokenError:
                raise MasterKeyError(f"the master key does not open {path}") from None

    def new_key(self, parent: UUID | None) -> NewKey:
        """Make a key under ``parent``, or under the master key. Ready for use, but in memory only; never blocks."""
        new = NewKey(self._new_id(), parent, os.urandom(KEY_BYTES))
        self._remember(new.key_id, new.secret)
        return new

    def make_durable(self, keys: Iterable[NewKey]) -> None:
        """Bring new keys to the disk. Blocks. Called before the first event that uses them is committed.

        Raises:
            StorageUnavailableError: the key store cannot be written.
        """
        rows = [
            (new.key_id.bytes, new.parent.bytes if new.parent else None, self._wrap(new.key_id, new.parent, new.secret))
            for new in keys
        ]
        if not rows:
            return
        with key_store_errors(), self._file_lock:
            self._insert(rows)

    def require_writable(self) -> None:
        """Pass where new keys could be brought to the disk. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be written.
        """
        with key_store_errors(), self._file_lock:
            # Nobody reads it; SQLite writes it whatever it was.
            self._file.execute("PRAGMA user_version = 1")

    def _insert(self, rows: list[tuple[bytes, bytes | None, bytes]]) -> None:
        self._file.execute("BEGIN IMMEDIATE")
        try:
            self._file.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?, ?)", rows)
            self._file.execute("COMMIT")
        except BaseException:
            # A full disk may have ended the transaction already.
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise

    def cached(self, key_id: UUID) -> AesDataKey | None:
        """The key, if it is at hand. Never blocks."""
        found = self._secrets.get(key_id)
        return found[1] if found else None

    def key(self, key_id: UUID) -> AesDataKey:
        """The key, from disk if need be. May block.

        Raises:
            KeyDestroyedError: there is none.
            SealBrokenError: it does not open under its parent.
            StorageUnavailableError: the key store cannot be read.
        """
        return self.cached(key_id) or self._fetch(key_id)[1]

    def lookup(self, scope: str, text: str) -> str:
        """A keyed hash by which a text can be found again without being stored."""
        return hmac.new(self._lookup_key, f"{scope}\0{text}".encode(), hashlib.sha256).hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _fetch(self, key_id: UUID) -> tuple[bytes, AesDataKey]:
        select = "SELECT parent_id, wrapped FROM keys WHERE key_id = ?"
        with key_store_errors(), self._file_lock:
            row = self._file.execute(select, (key_id.bytes,)).fetchone()
        if row is None:
            raise KeyDestroyedError(str(key_id))
        parent = None if row[0] is None else UUID(bytes=row[0])
        secret = self._unwrap(key_id, parent, row[1])
        return self._remember(key_id, secret)

    def _remember(self, key_id: UUID, secret: bytes) -> tuple[bytes, AesDataKey]:
        known = (secret, AesDataKey(secret))
        with self._cache_lock:
            self._secrets[key_id] = known
            if len(self._secrets) > CACHED_KEYS:
                self._secrets.popitem(last=False)
        return known

    def _wrapper(self, parent: UUID | None) -> AESGCM:
        if parent is None:
            return self._wrapping
        secret, _ = self._secrets.get(parent) or self._fetch(parent)
        return AESGCM(subkey(secret, b"wrapping"))

    def _wrap(self, key_id: UUID, parent: UUID | None, secret: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._wrapper(parent).encrypt(nonce, secret, _names(key_id, parent))

    def _unwrap(self, key_id: UUID, parent: UUID | None, wrapped: bytes) -> bytes:
        nonce, body = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        try:
            return self._wrapper(parent).decrypt(nonce, body, _names(key_id, parent))
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError(f"key {key_id} does not open under its parent") from error


@contextmanager
def key_store_errors(kind: type[sqlite3.Error] = sqlite3.Error) -> Iterator[None]:
    """Errors of the file become ours.

    Raises:
        StorageUnavailableError: it cannot be read or written.
    """
    try:
        yield
    except kind as error:
        raise StorageUnavailableError(f"key store: {error}") from error


def _names(key_id: UUID, parent: UUID | None) -> bytes:
    return key_id.bytes + (parent.bytes if parent else b"")
