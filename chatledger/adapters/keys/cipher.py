"""One data key at work."""

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from chatledger.application.ports.keys import KeyDestroyedError, SealBrokenError

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
SIV_KEY_BYTES = 64

SECRET_BYTES = 2 * KEY_BYTES
"""A key has two secrets: one that seals, for good, and one that wraps the keys under it."""

WRAPPED_BYTES = NONCE_BYTES + SECRET_BYTES + TAG_BYTES


def subkey(key: bytes, purpose: bytes, length: int = KEY_BYTES) -> bytes:
    """A key for one purpose, derived from another (HKDF-Expand, RFC 5869)."""
    return HKDFExpand(SHA256(), length, b"chatledger " + purpose).derive(key)


def sealing_half(secret: bytes) -> bytes:
    """What a key seals by."""
    return secret[:KEY_BYTES]


def wrapping_half(secret: bytes) -> bytes:
    """What a key wraps the keys under it by."""
    return secret[KEY_BYTES:]


def wrap(wrapping_key: bytes, secret: bytes, place: bytes) -> bytes:
    """A key's secrets under another key (AES-256-GCM), always of the same length."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(wrapping_key).encrypt(nonce, secret, place)


def unwrap(wrapping_key: bytes, wrapped: bytes, place: bytes) -> bytes:
    """The secrets of :func:`wrap`.

    Raises:
        SealBrokenError: they do not open under this key for this place.
    """
    try:
        return AESGCM(wrapping_key).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], place)
    except (InvalidTag, ValueError) as error:
        raise SealBrokenError("a wrapped key does not open") from error


class AesDataKey:
    """What a key seals by, 256 bits. Each purpose has a subkey of its own, derived when it is first needed."""

    __slots__ = ("__weakref__", "_fingerprint_key", "_gcm", "_secret", "_siv")

    def __init__(self, secret: bytes) -> None:
        self._secret: bytes | None = secret
        self._gcm: AESGCM | None = None
        self._siv: AESSIV | None = None
        self._fingerprint_key: bytes | None = None

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce in front.

        Raises:
            KeyDestroyedError: the key has been destroyed.
        """
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._events().encrypt(nonce, plaintext, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """The plaintext of :meth:`seal`.

        Raises:
            KeyDestroyedError: the key has been destroyed.
            SealBrokenError: the bytes are not what was sealed under this key for this place.
        """
        try:
            return self._events().decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError("a sealed part does not open") from error

    def seal_row(self, plaintext: bytes, place: bytes) -> bytes:
        """Deterministic AES-SIV (RFC 5297), for read models: a replay gives the same bytes.

        Raises:
            KeyDestroyedError: the key has been destroyed.
        """
        return self._rows().encrypt(plaintext, [place])

    def open_row(self, sealed: bytes, place: bytes) -> bytes:
        """The plaintext of :meth:`seal_row`.

        Raises:
            KeyDestroyedError: the key has been destroyed.
            SealBrokenError: the bytes are not what was sealed under this key for this place.
        """
        try:
            return self._rows().decrypt(sealed, [place])
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError("a sealed row does not open") from error

    def fingerprint(self, content: bytes) -> str:
        """A keyed hash (HMAC-SHA-256) in hex: after erasure it confirms no guess.

        Raises:
            KeyDestroyedError: the key has been destroyed.
        """
        if self._fingerprint_key is None:
            self._fingerprint_key = subkey(self._require_secret(), b"fingerprint")
        return hmac.new(self._fingerprint_key, content, hashlib.sha256).hexdigest()

    def destroy(self) -> None:
        """Be of no more use to whoever has it in hand. Python may leave copies of the secret in the memory."""
        self._secret = self._gcm = self._siv = self._fingerprint_key = None

    def _events(self) -> AESGCM:
        if self._gcm is None:
            self._gcm = AESGCM(self._require_secret())
        return self._gcm

    def _rows(self) -> AESSIV:
        if self._siv is None:
            self._siv = AESSIV(subkey(self._require_secret(), b"rows", SIV_KEY_BYTES))
        return self._siv

    def _require_secret(self) -> bytes:
        if self._secret is None:
            raise KeyDestroyedError("the key has been destroyed")
        return self._secret
