"""The key store: data keys wrapped by their parents, and at last by the master key."""

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from sqlite3 import Connection
from uuid import UUID

from chatledger.adapters.keys.cache import KeyCache, KnownKey
from chatledger.adapters.keys.cipher import (
    KEY_BYTES,
    SECRET_BYTES,
    WRAPPED_BYTES,
    AesDataKey,
    sealing_half,
    subkey,
    unwrap,
    wrap,
    wrapping_half,
)
from chatledger.adapters.keys.file import KeyStoreFile
from chatledger.adapters.keys.master import MasterKeyError, MasterKeyFile
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.keys import KeyDestroyedError, NewKey, SealBrokenError

PAGE = 1_000

LOOKUP_KEY = UUID(int=0)
"""The key of lookups is one like any other, and so outlives the master key that wraps it. Every key store has it."""

_GONE = bytes(WRAPPED_BYTES)
"""What stands in place of a destroyed key, so that nothing can be put there again."""

_DESTROY = """
WITH RECURSIVE doomed (key_id) AS (
    VALUES (:key_id) UNION SELECT keys.key_id FROM keys JOIN doomed ON keys.parent_id = doomed.key_id
)
UPDATE keys SET wrapped = :gone WHERE key_id IN doomed AND wrapped <> :gone RETURNING key_id
"""
_UNDER = (
    "SELECT number, key_id, wrapped FROM keys WHERE parent_id IS ? AND number > ? AND wrapped <> ? "
    "ORDER BY number LIMIT ?"
)
_DESTROYED_ALONE = """
SELECT gone.key_id FROM keys AS gone JOIN keys AS parent ON parent.key_id = gone.parent_id
WHERE gone.number > ? AND gone.number <= ? AND gone.wrapped = ? AND parent.wrapped <> ?
"""
_INSERT = "INSERT OR IGNORE INTO keys (key_id, parent_id, wrapped) VALUES (?, ?, ?)"


class SqliteKeyring:
    """All keys. New ones are made durable by the writer, many in one commit.

    Attributes:
        file: where they are.
        withheld: those that are there, and are given to nobody here.

    Raises:
        MasterKeyError: the master key is not the one that wrapped the keys in the file.
        StorageUnavailableError: the key store cannot be read or written.
    """

    def __init__(self, path: Path, master: MasterKeyFile, new_id: IdFactory, *, read_only: bool = False) -> None:
        self._new_id = new_id
        self._master = master
        self._cache = KeyCache()
        self.withheld: set[UUID] = set()
        # First: a key store without its master key is taken for one that has lost it.
        master.make()
        self.file = KeyStoreFile(path, read_only=read_only)
        try:
            self._master_wrapping, self._lookups = self._open()
        except BaseException:
            self.file.close()
            raise

    def _open(self) -> tuple[bytes, AesDataKey]:
        is_fresh = not self.file.is_read_only and not self.file.read("SELECT 1 FROM keys LIMIT 1")
        for source, secret in self._master.candidates():
            self._master_wrapping = subkey(secret, b"wrapping")
            self._cache.forget(LOOKUP_KEY)
            if is_fresh:
                self.make_durable([NewKey(LOOKUP_KEY, None, os.urandom(SECRET_BYTES))])
                is_fresh = False
            try:
                lookups = self.key(LOOKUP_KEY)
            except (KeyDestroyedError, SealBrokenError):
                continue
            if not self.file.is_read_only:
                self._master.adopt(source)
            return self._master_wrapping, lookups
        raise MasterKeyError(f"the master key does not open {self.file.path}")

    def new_key(self, parent: UUID | None) -> NewKey:
        """Make a key under ``parent``, or under the master key. Ready for use, but in memory only; never blocks."""
        new = NewKey(self._new_id(), parent, os.urandom(SECRET_BYTES))
        self._cache.keep(new.key_id, KnownKey(parent, new.secret))
        return new

    def make_durable(self, keys: Iterable[NewKey]) -> None:
        """Bring new keys to the disk. Blocks. Called before the first event that uses them is committed.

        Raises:
            KeyDestroyedError: one of them is gone, or what it was to stand under; none of them is on the disk.
            StorageUnavailableError: the key store cannot be written.
        """
        new_keys = list(keys)
        if not new_keys:
            return
        with self.file.write() as connection:
            for parent in {new.parent for new in new_keys if new.parent} - {new.key_id for new in new_keys}:
                self._stored(parent)
            rows = [self._row(new) for new in new_keys]
            if connection.executemany(_INSERT, rows).rowcount < len(rows):
                for new in new_keys:
                    self._stored(new.key_id)

    def destroy(self, key_ids: Iterable[UUID]) -> None:
        """Destroy keys and all that stand under them, for good. Blocks; when it is back, no file has them any more.

        Raises:
            StorageUnavailableError: the key store is in trouble. Some of them may be gone: destroy them once more.
        """
        doomed = set(key_ids)
        if not doomed:
            return
        with self.file.turn:
            with self.file.write() as connection:
                connection.executemany(_INSERT, [(key_id.bytes, None, _GONE) for key_id in doomed])
                for key_id in tuple(doomed):
                    gone = connection.execute(_DESTROY, {"key_id": key_id.bytes, "gone": _GONE}).fetchall()
                    doomed.update(UUID(bytes=row[0]) for row in gone)
            self._cache.destroy(doomed)
            self.file.scrub()

    def destroyed_alone(self) -> Iterator[Collection[UUID]]:
        """The keys that were destroyed while what wrapped them was not, a bounded number at a time. Blocks.

        Raises:
            StorageUnavailableError: while iterating: the key store cannot be read.
        """
        ((last,),) = self.file.read("SELECT coalesce(max(number), 0) FROM keys")
        for before in range(0, last, PAGE):
            if rows := self.file.read(_DESTROYED_ALONE, before, before + PAGE, _GONE, _GONE):
                yield [UUID(bytes=row[0]) for row in rows]

    def rotate_key(self, key_id: UUID) -> int:
        """Wrap the keys under a key by a new secret; how many. Blocks.

        What a key seals by stays: what it has sealed is on the ledger for good.

        Raises:
            KeyDestroyedError: there is no such key.
            SealBrokenError: it does not open, or one under it; nothing has changed.
            StorageUnavailableError: the key store is in trouble. Rotate once more: the former secret may be left.
        """
        with self.file.turn:
            known = self._find(key_id)
            renewed = sealing_half(known.secret) + os.urandom(KEY_BYTES)
            wrapped = wrap(self._wrapping_key(known.parent), renewed, _place(key_id, known.parent))
            with self.file.write() as connection:
                count = self._wrap_anew(connection, key_id, wrapping_half(renewed))
                connection.execute("UPDATE keys SET wrapped = ? WHERE key_id = ?", (wrapped, key_id.bytes))
            known.secret = renewed
            self.file.scrub()
        return count

    def rotate_master_key(self) -> int:
        """Wrap by a new master key what the present one wraps, and put it in its place; how many keys. Blocks.

        Raises:
            SealBrokenError: a key does not open; nothing has changed.
            StorageUnavailableError: the key store is in trouble. Rotate once more: the former key may open some of it.
        """
        with self.file.turn:
            successor = self._master.propose()
            wrapping = subkey(successor.read_bytes(), b"wrapping")
            with self.file.write() as connection:
                count = self._wrap_anew(connection, None, wrapping)
            self._master_wrapping = wrapping
            self._master.adopt(successor)
            self.file.scrub()
        return count

    def _wrap_anew(self, connection: Connection, parent: UUID | None, wrapping: bytes) -> int:
        former, parent_id, number, count = self._wrapping_key(parent), parent.bytes if parent else None, 0, 0
        while rows := connection.execute(_UNDER, (parent_id, number, _GONE, PAGE)).fetchall():
            places = [_place(UUID(bytes=key_id), parent) for _, key_id, _ in rows]
            secrets = [unwrap(former, row[2], place) for row, place in zip(rows, places, strict=True)]
            wraps = [wrap(wrapping, secret, place) for secret, place in zip(secrets, places, strict=True)]
            numbers = [row[0] for row in rows]
            connection.executemany("UPDATE keys SET wrapped = ? WHERE number = ?", zip(wraps, numbers, strict=True))
            number, count = numbers[-1], count + len(rows)
        return count

    def withhold(self, key_ids: Iterable[UUID]) -> None:
        """Keep keys from whoever asks here: all that can be done where nothing may be written. Blocks."""
        for key_id in key_ids:
            if self.file.read("SELECT 1 FROM keys WHERE key_id = ? AND wrapped <> ?", key_id.bytes, _GONE):
                self.withheld.add(key_id)
        self._cache.destroy(self.withheld)

    @property
    def agreed_position(self) -> int:
        """Up to which position of the ledger all keys that were erased there are destroyed here."""
        rows = self.file.read("SELECT position FROM agreement")
        return rows[0][0] if rows else 0

    def agree(self, position: int) -> None:
        """Keep in mind that all keys which the ledger erased up to this position are destroyed."""
        with self.file.write() as connection:
            connection.execute("INSERT OR REPLACE INTO agreement VALUES (1, ?)", (position,))

    def require_writable(self) -> None:
        """Pass where new keys could be brought to the disk. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be written.
        """
        self.file.require_writable()

    def cached(self, key_id: UUID) -> AesDataKey | None:
        """The key, if it is at hand. Never blocks."""
        known = self._cache.get(key_id)
        return known.data_key if known else None

    def key(self, key_id: UUID) -> AesDataKey:
        """The key, from disk if need be. May block.

        Raises:
            KeyDestroyedError: there is none.
            SealBrokenError: it does not open under its parent.
            StorageUnavailableError: the key store cannot be read.
        """
        return self._find(key_id).data_key

    def secret(self, key_id: UUID) -> bytes:
        """What a key seals by, for those that sign with it instead. Blocks.

        Raises:
            KeyDestroyedError: there is none.
            SealBrokenError: it does not open under its parent.
            StorageUnavailableError: the key store cannot be read.
        """
        return sealing_half(self._find(key_id).secret)

    def lookup(self, scope: str, text: str) -> str:
        """A keyed hash by which a text can be found again without being stored."""
        return self._lookups.fingerprint(f"{scope}\0{text}".encode())

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _find(self, key_id: UUID) -> KnownKey:
        return self._cache.get(key_id) or self._fetch(key_id)

    def _fetch(self, key_id: UUID) -> KnownKey:
        with self.file.turn:  # to the end: else a key that is destroyed meanwhile would be kept
            parent, wrapped = self._stored(key_id)
            try:
                secret = unwrap(self._wrapping_key(parent), wrapped, _place(key_id, parent))
            except SealBrokenError:
                if not self.file.is_read_only or key_id == LOOKUP_KEY:
                    raise
                self._look_again(parent)
                secret = unwrap(self._wrapping_key(parent), wrapped, _place(key_id, parent))
            return self._cache.keep(key_id, KnownKey(parent, secret))

    def _look_again(self, parent: UUID | None) -> None:
        """Whoever writes may have wrapped by another secret since it was read here."""
        if parent is None:
            self._master_wrapping, _ = self._open()
        else:
            self._cache.forget(parent)

    def _stored(self, key_id: UUID) -> tuple[UUID | None, bytes]:
        """A key's parent and wrapped secrets.

        Raises:
            KeyDestroyedError: there is none.
            StorageUnavailableError: the key store cannot be read.
        """
        rows = self.file.read("SELECT parent_id, wrapped FROM keys WHERE key_id = ?", key_id.bytes)
        if not rows or rows[0][1] == _GONE or key_id in self.withheld:
            raise KeyDestroyedError(str(key_id))
        parent_id, wrapped = rows[0]
        return UUID(bytes=parent_id) if parent_id else None, wrapped

    def _wrapping_key(self, parent: UUID | None) -> bytes:
        return self._master_wrapping if parent is None else wrapping_half(self._find(parent).secret)

    def _row(self, new: NewKey) -> tuple[bytes, bytes | None, bytes]:
        wrapped = wrap(self._wrapping_key(new.parent), new.secret, _place(new.key_id, new.parent))
        return new.key_id.bytes, new.parent.bytes if new.parent else None, wrapped


def _place(key_id: UUID, parent: UUID | None) -> bytes:
    return key_id.bytes + (parent.bytes if parent else b"")
