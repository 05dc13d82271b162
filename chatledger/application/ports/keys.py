"""Keys: what seals what a person wrote and is destroyed to forget it, and what signs what is given out."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

SECONDS_TO_BE_KNOWN = 1.0
"""After which every process that shares a key store knows what one of them has destroyed, or commits nothing."""

LONGEST_SILENCE = 0.9 * SECONDS_TO_BE_KNOWN
"""Without a look at the key store. What is left of the second is for letting go of content in memory."""


class KeyDestroyedError(LookupError):
    """The key is gone for good; what it sealed cannot be read again."""


class SuccessorError(Exception):
    """There is no one master key that could take over; the text says what to do."""


class NewKey(msgspec.Struct, frozen=True):
    """A key that no disk knows yet. Its secret is for the key store alone."""

    key_id: UUID
    parent: UUID | None
    secret: bytes

    def __repr__(self) -> str:
        """Without the secret."""
        return f"NewKey({self.key_id})"


class DataKey(Protocol):
    """One data key, ready for use. All methods compute only; none touches a disk.

    Raises:
        KeyDestroyedError: by each method, once the key has been destroyed.
    """

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce in front."""
        ...

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """The plaintext of :meth:`seal`.

        Raises:
            SealBrokenError: the bytes are not what was sealed under this key for this place.
        """
        ...

    def seal_row(self, plaintext: bytes, place: bytes) -> bytes:
        """Deterministic AES-SIV (RFC 5297), for read models: a replay gives the same bytes."""
        ...

    def open_row(self, sealed: bytes, place: bytes) -> bytes:
        """The plaintext of :meth:`seal_row`."""
        ...

    def fingerprint(self, content: bytes) -> str:
        """A keyed hash (HMAC-SHA-256) in hex: after erasure it confirms no guess."""
        ...


class SealBrokenError(ValueError):
    """Sealed bytes do not open: another key, another place, or a changed byte."""


class DataKeys(Protocol):
    """Where data keys are found."""

    def key(self, key_id: UUID) -> DataKey:
        """The key. May block.

        Raises:
            KeyDestroyedError: there is none.
            SealBrokenError: it does not open under its parent.
        """
        ...


class Keyring(Protocol):
    """All data keys, each wrapped by its parent and at last by the master key, kept apart from the ledger."""

    def new_key(self, parent: UUID | None) -> NewKey:
        """Make a key under ``parent``, or under the master key. Ready for use, but in memory only; never blocks."""
        ...

    def make_durable(self, keys: Iterable[NewKey]) -> None:
        """Bring new keys to the disk. Blocks. Called before the first event that uses them is committed.

        Raises:
            KeyDestroyedError: one of them is gone, or what it was to stand under; none of them is on the disk.
            StorageUnavailableError: the key store cannot be written.
        """
        ...

    def destroy(self, key_ids: Iterable[UUID], before_commit: Callable[[], object] = ...) -> int:
        """Destroy keys and all that stand under them, for good; how many were there. Blocks.

        Whoever has one of them in hand can do nothing more with it. Keys that are gone already are no error. To be
        called between two commits: then no event is committed that one of them has sealed. The bytes are left in files
        until :meth:`scrub`, which need not be called by the same process.

        Args:
            key_ids: which.
            before_commit: the last that is done before there is no way back. Where it raises, none is destroyed.

        Raises:
            StorageUnavailableError: the key store is in trouble. Some of them may be gone: destroy them once more.
        """
        ...

    def scrub(self) -> None:
        """Have no file with a key that was destroyed by then, whoever has done so. Blocks, and may take long.

        Commits go on beside it. Where nothing is left it costs next to nothing.

        Raises:
            StorageUnavailableError: the key store is in trouble, or somebody else has been reading it for long. What is
                left is known to whoever scrubs next.
        """
        ...

    def destroyed_alone(self) -> Iterator[Collection[UUID]]:
        """The keys that were destroyed while what wrapped them was not, a bounded number at a time. Blocks.

        Raises:
            StorageUnavailableError: while iterating: the key store cannot be read.
        """
        ...

    def rotate_key(self, key_id: UUID) -> int:
        """Wrap the keys under a key by a new secret; how many. Blocks.

        What a key seals by stays: what it has sealed is on the ledger for good. The former secret is left in files
        until :meth:`scrub`.

        Raises:
            KeyDestroyedError: there is no such key.
            SealBrokenError: it does not open, or one under it; nothing has changed.
            StorageUnavailableError: the key store is in trouble. Rotate once more: it may have changed nothing.
        """
        ...

    def rotate_master_key(self) -> int:
        """Wrap by a new master key what the present one wraps, and put it in its place; how many keys. Blocks.

        What the former one opens is left in files until :meth:`scrub`. Rotated once more before the operator has put
        one that they gave in its place, all is wrapped by that once more.

        Raises:
            SuccessorError: the new one has to be given by the operator, and is not.
            SealBrokenError: a key does not open; nothing has changed.
            StorageUnavailableError: the key store is in trouble. Rotate once more: it may have changed nothing.
        """
        ...

    def catch_up(self) -> int:
        """Know what others who share the key store have destroyed and rotated; the number of the last change. Blocks.

        Keys that were destroyed are of no use any more to whoever has them in hand here.

        Raises:
            StorageUnavailableError: the key store is in trouble.
        """
        ...

    @property
    def is_current(self) -> bool:
        """Whether all is known here that others did until :data:`SECONDS_TO_BE_KNOWN` ago. Never blocks.

        What is committed while it is, under the ledger's lock, may be sealed by a key that somebody has destroyed
        since; but it comes before whatever puts that on record.
        """
        ...

    def require_current(self) -> None:
        """Pass if all is known here that others did until :data:`SECONDS_TO_BE_KNOWN` ago. Blocks if it was not.

        To be called before the ledger's lock is taken: under it all others would wait as long. :meth:`key` asks for it
        once more, under the lock too, where a commit takes so long.

        Raises:
            StorageUnavailableError: the key store is in trouble.
        """
        ...

    def require_writable(self) -> None:
        """Pass where new keys could be brought to the disk. Blocks: others who write are waited for.

        :meth:`make_durable` and :meth:`destroy`, which come under the ledger's lock, wait for them for a moment only.

        Raises:
            StorageUnavailableError: the key store is in trouble.
        """
        ...

    def cached(self, key_id: UUID) -> DataKey | None:
        """The key, if it is at hand, and nobody can have destroyed it for long. Never blocks."""
        ...

    def key(self, key_id: UUID) -> DataKey:
        """The key, from disk if need be. May block.

        Raises:
            KeyDestroyedError: there is none.
            SealBrokenError: it does not open under its parent.
            StorageUnavailableError: what others have destroyed cannot be known.
        """
        ...

    def secret(self, key_id: UUID) -> bytes:
        """What a key seals by, for those that sign with it, or that give it away. Blocks.

        Raises:
            KeyDestroyedError: there is none.
            SealBrokenError: it does not open under its parent.
        """
        ...

    def lookup(self, scope: str, text: str) -> str:
        """A keyed hash by which a text can be found again without being stored."""
        ...


class SigningKey(msgspec.Struct, frozen=True):
    """A secret that signs, and by which what it has signed is known again.

    Attributes:
        retired_at: since when it signs nothing any more; None for the newest.
    """

    key_id: UUID
    secret: bytes
    retired_at: datetime | None = None

    def __repr__(self) -> str:
        """Without the secret."""
        return f"SigningKey({self.key_id})"


class SigningKeys(Protocol):
    """The keys of one purpose. There is always a newest one; it signs, and the earlier ones are kept to check."""

    def newest(self) -> SigningKey:
        """What signs. Never blocks."""
        ...

    def find(self, key_id: UUID) -> SigningKey | None:
        """A key, if it was not forgotten. Never blocks."""
        ...

    def all(self) -> Sequence[SigningKey]:
        """Every key that was not forgotten, the oldest first. Never blocks."""
        ...

    def catch_up(self) -> None:
        """Know what others who share the key store have rotated and forgotten. Blocks.

        Raises:
            StorageUnavailableError: the key store is in trouble.
        """
        ...

    def rotate(self, *, forget_earlier: bool) -> SigningKey:
        """A new newest key, durable once it is given. Blocks.

        Args:
            forget_earlier: what the earlier keys have signed counts for nothing from here on.

        Raises:
            StorageUnavailableError: the key store cannot be written. Nothing has changed, but that earlier keys may be
                on their way out: rotate once more.
        """
        ...


class Signatures(Protocol):
    """Ed25519 (RFC 8032)."""

    def public_key(self, secret: bytes) -> bytes:
        """The 32 bytes that signatures made with this secret are checked with."""
        ...

    def sign(self, secret: bytes, message: bytes) -> bytes:
        """The signature of a message."""
        ...

    def is_signed_by(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Whether a signature of a message was made with the secret of this public key."""
        ...
