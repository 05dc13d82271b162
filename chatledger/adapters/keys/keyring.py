"""The key store: data keys wrapped by their parents, and at last by the master key."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal
from uuid import UUID

from chatledger.adapters.keys.cache import KeyCache, KnownKey
from chatledger.adapters.keys.cipher import (
    KEY_BYTES,
    SECRET_BYTES,
    AesDataKey,
    sealing_half,
    subkey,
    unwrap,
    wrap,
    wrapping_half,
)
from chatledger.adapters.keys.key_store import GONE, KeyStore, KeyStoreWriting, Row
from chatledger.adapters.keys.master import MasterKeyError, MasterKeyFile
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.keys import LONGEST_SILENCE, KeyDestroyedError, NewKey, SealBrokenError
from chatledger.application.ports.storage import StorageUnavailableError

PAGE = 1_000

SECONDS_BETWEEN_TRIES = 0.5
"""To read a shared key store that is away. Whoever asks in between is told so at once."""

CHANGES_KEPT = 1_000
"""Whoever has missed more of them looks at each key that is at hand."""

LOOKUP_KEY = UUID(int=0)
"""The key of lookups is one like any other, and so outlives the master key that wraps it. Every key store has it."""

_DESTROY = """
WITH RECURSIVE doomed (key_id) AS (
    VALUES {marks} UNION SELECT keys.key_id FROM keys JOIN doomed ON keys.parent_id = doomed.key_id
)
UPDATE keys SET wrapped = ? WHERE key_id IN (SELECT key_id FROM doomed) AND wrapped <> ? RETURNING key_id, parent_id
"""
_UNDER_A_KEY = (
    "SELECT number, key_id, wrapped FROM keys WHERE parent_id = ? AND wrapped <> ? AND number > ? "
    "ORDER BY number LIMIT ?"
)
_UNDER_THE_MASTER_KEY = (
    "SELECT number, key_id, wrapped FROM keys WHERE parent_id IS NULL AND wrapped <> ? AND number > ? "
    "ORDER BY number LIMIT ?"
)
_DESTROYED_ALONE = """
SELECT gone.key_id FROM keys AS gone JOIN keys AS parent ON parent.key_id = gone.parent_id
WHERE gone.number > ? AND gone.number <= ? AND gone.wrapped = ? AND parent.wrapped <> ?
"""
_INSERT = "INSERT INTO keys (key_id, parent_id, wrapped) VALUES (?, ?, ?) ON CONFLICT (key_id) DO NOTHING"

_AGREE = "INSERT INTO agreement VALUES (1, ?) ON CONFLICT (singleton) DO UPDATE SET position = excluded.position"
_CHANGES = "SELECT number, what, key_ids FROM changes WHERE number > ? ORDER BY number"
_TELL = "INSERT INTO changes (what, key_ids) VALUES (?, ?)"
_KEEP_THE_LAST = "DELETE FROM changes WHERE number <= (SELECT max(number) FROM changes) - ?"
_AT_HAND = "SELECT key_id, wrapped FROM keys WHERE key_id IN ({marks})"
_ID_BYTES = 16

Change = Literal["destroyed", "rotated", "signing"]
"""What others who have the key store open have to hear of."""


class StoredKeyring:
    """All keys. New ones are made durable by the writer, many in one commit.

    Any number of processes may have the key store open, where it lets them. What one of them has destroyed or rotated
    stands there under a number: each reads on from the last number that it knows before it writes, and whenever it is
    told to catch up. What was wrapped by another secret meanwhile does not open, and is looked at again.

    Attributes:
        store: where they are.
        withheld: those that are there, and are given to nobody here.

    Raises:
        MasterKeyError: the master key is missing, or is not the one that wrapped the keys in the store.
        StorageUnavailableError: the key store cannot be read or written.
    """

    def __init__(self, store: KeyStore, master: MasterKeyFile, new_id: IdFactory, *, is_shared: bool = False) -> None:
        self.store = store
        self._is_shared = is_shared
        self._looked_at = time.monotonic()
        self._failed_at = -SECONDS_BETWEEN_TRIES
        self._new_id = new_id
        self._master = master
        self._cache = KeyCache()
        self._known_change = self._last_change()
        self.withheld: set[UUID] = set()
        self._master_wrapping, self._lookups = self._open()

    def _open(self) -> tuple[bytes, AesDataKey]:
        is_fresh = not self.store.is_read_only and not self.store.read("SELECT 1 FROM keys LIMIT 1")
        if is_fresh:
            self._master.make()
        elif not self._master.path.exists():
            raise MasterKeyError(f"{self.store.place} is there, but its master key {self._master.path} is not")
        for source, secret in self._master.candidates():
            self._master_wrapping = subkey(secret, b"wrapping")
            self._cache.forget(LOOKUP_KEY)
            if is_fresh:
                self.make_durable([NewKey(LOOKUP_KEY, None, os.urandom(SECRET_BYTES))])
                is_fresh = False
            try:
                lookups = self._fetch(LOOKUP_KEY).data_key
            except (KeyDestroyedError, SealBrokenError):
                continue
            if not self.store.is_read_only:
                self._master.adopt(source)
            return self._master_wrapping, lookups
        raise MasterKeyError(f"the master key does not open {self.store.place}")

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
        with self.writing(briefly=True) as writing:
            self.add(new_keys, writing)

    def add(self, new_keys: Sequence[NewKey], writing: KeyStoreWriting) -> None:
        """Have new keys durable once this transaction is committed.

        Raises:
            KeyDestroyedError: one of them is gone, or what it was to stand under.
        """
        for parent in {new.parent for new in new_keys if new.parent} - {new.key_id for new in new_keys}:
            self._stored(parent)
        rows = [self._row(new) for new in new_keys]
        if writing.execute_many(_INSERT, rows) < len(rows):
            for new in new_keys:
                self._stored(new.key_id)

    def destroy(self, key_ids: Iterable[UUID], before_commit: Callable[[], object] = lambda: None) -> int:
        """Destroy keys and all that stand under them, for good; how many were there. Blocks.

        Args:
            key_ids: which.
            before_commit: the last that is done before there is no way back. Where it raises, none is destroyed.

        Raises:
            StorageUnavailableError: the key store is in trouble. Some of them may be gone: destroy them once more.
        """
        doomed = set(key_ids)
        if not doomed:
            return 0
        with self.store.turn:
            with self.writing(briefly=True) as writing:
                writing.execute_many(_INSERT, [(key_id.bytes, None, GONE) for key_id in doomed])
                statement = _DESTROY.format(marks=", ".join(["(?)"] * len(doomed)))
                rows = writing.execute(statement, *(key_id.bytes for key_id in doomed), GONE, GONE)
                gone = {key_id for key_id, _ in rows}
                doomed.update(UUID(bytes=key_id) for key_id in gone)
                writing.shred([key_id for key_id, parent_id in rows if parent_id not in gone])
                self.tell("destroyed", doomed, writing)
                before_commit()
            self._cache.destroy(doomed)
        return len(rows)

    def scrub(self) -> None:
        """Have no file with a key that was destroyed, or with what a rotated one had wrapped. Blocks.

        Raises:
            StorageUnavailableError: the key store is in trouble, or somebody else has been reading it for long.
        """
        self.store.scrub()

    def destroyed_alone(self) -> Iterator[Collection[UUID]]:
        """The keys that were destroyed while what wrapped them was not, a bounded number at a time. Blocks.

        Raises:
            StorageUnavailableError: while iterating: the key store cannot be read.
        """
        ((last,),) = self.store.read("SELECT coalesce(max(number), 0) FROM keys")
        for before in range(0, last, PAGE):
            if rows := self.store.read(_DESTROYED_ALONE, before, before + PAGE, GONE, GONE):
                yield [UUID(bytes=row[0]) for row in rows]

    def rotate_key(self, key_id: UUID) -> int:
        """Wrap the keys under a key by a new secret; how many. Blocks.

        What a key seals by stays: what it has sealed is on the ledger for good. The former secret is left in files
        until :meth:`scrub`.

        Raises:
            KeyDestroyedError: there is no such key.
            SealBrokenError: it does not open, or one under it; nothing has changed.
            StorageUnavailableError: the key store is in trouble. Rotate once more: it may have changed nothing.
        """
        with self.store.turn:
            with self.writing() as writing:
                known = self._find(key_id)
                renewed = sealing_half(known.secret) + os.urandom(KEY_BYTES)
                wrapped = wrap(self._wrapping_key(known.parent), renewed, _place(key_id, known.parent))
                count = self._wrap_anew(writing, key_id, wrapping_half(renewed))
                writing.execute("UPDATE keys SET wrapped = ? WHERE key_id = ?", wrapped, key_id.bytes)
                writing.shred([key_id.bytes])
                self.tell("rotated", [key_id], writing)
            known.secret = renewed
        return count

    def rotate_master_key(self) -> int:
        """Wrap by a new master key what the present one wraps, and put it in its place; how many keys. Blocks.

        What the former one opens is left in files until :meth:`scrub`. Rotated once more before the operator has put
        one that they gave in its place, all is wrapped by that once more.

        Raises:
            SealBrokenError: a key does not open; nothing has changed.
            StorageUnavailableError: the key store is in trouble. Rotate once more: it may have changed nothing.
        """
        with self.store.turn:
            with self.writing() as writing:
                # Not before: whoever catches up with a rotation removes all master keys but the present one.
                successor = self._master.propose()
                wrapping = subkey(successor.read_bytes(), b"wrapping")
                count = self._wrap_anew(writing, None, wrapping)
                writing.shred(None)
                self.tell("rotated", [LOOKUP_KEY], writing)
            self._master_wrapping = wrapping
            self._master.adopt(successor)
        return count

    def _wrap_anew(self, writing: KeyStoreWriting, parent: UUID | None, wrapping: bytes) -> int:
        former, number, count = self._wrapping_key(parent), 0, 0
        while rows := self._under(parent, number):
            places = [_place(UUID(bytes=key_id), parent) for _, key_id, _ in rows]
            secrets = [unwrap(former, row[2], place) for row, place in zip(rows, places, strict=True)]
            wraps = [wrap(wrapping, secret, place) for secret, place in zip(secrets, places, strict=True)]
            numbers = [row[0] for row in rows]
            writing.execute_many("UPDATE keys SET wrapped = ? WHERE number = ?", list(zip(wraps, numbers, strict=True)))
            number, count = numbers[-1], count + len(rows)
            self.catch_up()  # whoever reads beside this has to know that nobody else has destroyed anything
        return count

    def _under(self, parent: UUID | None, beyond: int) -> Sequence[Row]:
        """A page of the keys that stand under one, or under the master key."""
        if parent is None:
            return self.store.read(_UNDER_THE_MASTER_KEY, GONE, beyond, PAGE)
        return self.store.read(_UNDER_A_KEY, parent.bytes, GONE, beyond, PAGE)

    def withhold(self, key_ids: Iterable[UUID]) -> None:
        """Keep keys from whoever asks here: all that can be done where nothing may be written. Blocks."""
        for key_id in key_ids:
            if self.store.read("SELECT 1 FROM keys WHERE key_id = ? AND wrapped <> ?", key_id.bytes, GONE):
                self.withheld.add(key_id)
        self._cache.destroy(self.withheld)

    @property
    def agreed_position(self) -> int:
        """Up to which position of the ledger all keys that were erased there are destroyed here."""
        rows = self.store.read("SELECT position FROM agreement")
        return rows[0][0] if rows else 0

    def agree(self, position: int) -> None:
        """Keep in mind that all keys which the ledger erased up to this position are destroyed."""
        with self.store.write() as writing:
            writing.execute(_AGREE, position)

    def require_writable(self) -> None:
        """Pass where new keys could be brought to the disk. Blocks: others who write are waited for.

        Raises:
            StorageUnavailableError: the key store cannot be written.
        """
        self.store.require_writable()

    def cached(self, key_id: UUID) -> AesDataKey | None:
        """The key, if it is at hand, and nobody can have destroyed it for long. Never blocks."""
        known = self._cache.get(key_id) if self.is_current else None
        return known.data_key if known else None

    def key(self, key_id: UUID) -> AesDataKey:
        """The key, from disk if need be. May block.

        Raises:
            KeyDestroyedError: there is none.
            SealBrokenError: it does not open under its parent.
            StorageUnavailableError: the key store cannot be read.
        """
        self.require_current()
        return self._find(key_id).data_key

    def secret(self, key_id: UUID) -> bytes:
        """What a key seals by, for those that sign with it instead. Blocks.

        Raises:
            KeyDestroyedError: there is none.
            SealBrokenError: it does not open under its parent.
            StorageUnavailableError: the key store cannot be read.
        """
        self.require_current()
        return sealing_half(self._find(key_id).secret)

    def lookup(self, scope: str, text: str) -> str:
        """A keyed hash by which a text can be found again without being stored."""
        return self._lookups.fingerprint(f"{scope}\0{text}".encode())

    def catch_up(self) -> int:
        """Know what others have destroyed and rotated; the number of their last change. Blocks.

        Keys that were destroyed are of no use any more to whoever has them in hand here.

        Raises:
            StorageUnavailableError: the key store cannot be read, or its new master key is not here.
        """
        with self.store.turn:
            looked_at = time.monotonic()
            changes = self.store.read(_CHANGES, self._known_change)
            # Or a number was lost with a transaction that came to nothing.
            if changes and changes[0][0] > self._known_change + 1:
                self._look_at_all()
            for number, what, key_ids in changes:
                self._follow(
                    what, [UUID(bytes=key_ids[at : at + _ID_BYTES]) for at in range(0, len(key_ids), _ID_BYTES)]
                )
                self._known_change = number
            self._looked_at = looked_at
            return self._known_change

    def require_current(self) -> None:
        """Pass if all is known here that others did until :data:`SECONDS_TO_BE_KNOWN` ago. Blocks if it was not.

        Raises:
            StorageUnavailableError: the key store cannot be read, or its new master key is not here.
        """
        if self.is_current:
            return
        with self.store.turn:
            if self.is_current:  # since somebody else, who was waited for, has looked
                return
            if time.monotonic() - self._failed_at < SECONDS_BETWEEN_TRIES:
                raise StorageUnavailableError(f"{self.store.place} was away a moment ago")
            try:
                self.catch_up()
            except StorageUnavailableError:
                self._failed_at = time.monotonic()
                raise

    @property
    def is_current(self) -> bool:
        """Whether all is known here that others did until :data:`SECONDS_TO_BE_KNOWN` ago. Never blocks."""
        return not self._is_shared or time.monotonic() - self._looked_at <= LONGEST_SILENCE

    def _follow(self, what: Change, key_ids: Collection[UUID]) -> None:
        if what == "destroyed":
            self._cache.destroy(key_ids)
        elif LOOKUP_KEY in key_ids:
            self._look_again(None)
        else:
            for key_id in key_ids:
                self._cache.forget(key_id)

    def _look_at_all(self) -> None:
        """Have at hand only what nobody else can have changed: keys that no disk knows yet."""
        self._look_again(None)
        at_hand = list(self._cache.at_hand())
        for first in range(0, len(at_hand), PAGE):
            page = [key_id.bytes for key_id in at_hand[first : first + PAGE]]
            stored = self.store.read(_AT_HAND.format(marks=", ".join("?" * len(page))), *page)
            self._cache.destroy(UUID(bytes=key_id) for key_id, wrapped in stored if wrapped == GONE)
            for key_id, _ in stored:
                self._cache.forget(UUID(bytes=key_id))

    def _last_change(self) -> int:
        ((number,),) = self.store.read("SELECT coalesce(max(number), 0) FROM changes")
        return int(number)

    @contextmanager
    def writing(self, *, briefly: bool = False) -> Iterator[KeyStoreWriting]:
        """A transaction that knows all that others have done before it; ``briefly`` it waits for a moment only."""
        with self.store.write(briefly=briefly) as writing:
            self.catch_up()
            yield writing

    def tell(self, what: Change, key_ids: Iterable[UUID], writing: KeyStoreWriting) -> None:
        """Have all others who have the key store open hear of a change, once this transaction is committed."""
        writing.execute(_TELL, what, b"".join(key_id.bytes for key_id in key_ids))
        writing.execute(_KEEP_THE_LAST, CHANGES_KEPT)

    def close(self) -> None:
        """Close the key store."""
        self.store.close()

    def _find(self, key_id: UUID) -> KnownKey:
        return self._cache.get(key_id) or self._fetch(key_id)

    def _fetch(self, key_id: UUID) -> KnownKey:
        with self.store.turn:  # to the end: else a key that is destroyed meanwhile would be kept
            parent, wrapped = self._stored(key_id)
            try:
                secret = unwrap(self._wrapping_key(parent), wrapped, _place(key_id, parent))
            except SealBrokenError:
                if key_id == LOOKUP_KEY:
                    raise
                self._look_again(parent)
                parent, wrapped = self._stored(key_id)
                secret = unwrap(self._wrapping_key(parent), wrapped, _place(key_id, parent))
            return self._cache.keep(key_id, KnownKey(parent, secret))

    def _look_again(self, parent: UUID | None) -> None:
        """Another process may have wrapped by another secret since it was read here."""
        if parent is not None:
            self._cache.forget(parent)
            return
        try:
            self._master_wrapping, _ = self._open()
        except MasterKeyError as error:  # its successor may be brought here yet
            raise StorageUnavailableError(str(error)) from error

    def _stored(self, key_id: UUID) -> tuple[UUID | None, bytes]:
        """A key's parent and wrapped secrets.

        Raises:
            KeyDestroyedError: there is none.
            StorageUnavailableError: the key store cannot be read.
        """
        rows = self.store.read("SELECT parent_id, wrapped FROM keys WHERE key_id = ?", key_id.bytes)
        if not rows or rows[0][1] == GONE or key_id in self.withheld:
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
