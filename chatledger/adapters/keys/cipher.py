"""One data key at work."""

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from chatledger.application.ports.keys import SealBrokenError

KEY_BYTES = 32
NONCE_BYTES = 12
SIV_KEY_BYTES = 64


def subkey(key: bytes, purpose: bytes, length: int = KEY_BYTES) -> bytes:
    """A key for one purpose, derived from another (HKDF-Expand, RFC 5869)."""
    return HKDFExpand(SHA256(), length, b"chatledger " + purpose).derive(key)


class AesDataKey:
    """A 256-bit data key. Each purpose has a subkey of its own, derived when it is first needed."""

    __slots__ = ("_fingerprint_key", "_gcm", "_secret", "_siv")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._gcm = AESGCM(secret)
        self._siv: AESSIV | None = None
        self._fingerprint_key: bytes | None = None

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce in front."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._gcm.encrypt(nonce, plaintext, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """The plaintext of :meth:`seal`.

        Raises:
            SealBrokenError: the bytes are not what was sealed under this key for this place.
        """
        try:
            return self._gcm.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError("a sealed part does not open") from error

    def seal_row(self, plaintext: bytes, place: bytes) -> bytes:
        """Deterministic AES-SIV (RFC 5297), for read models: a replay gives the same bytes."""
        return self._rows().encrypt(plaintext, [place])

    def open_row(self, sealed: bytes, place: bytes) -> bytes:
        """The plaintext of :meth:`seal_row`.

        Raises:
            SealBrokenError: the bytes are not what was sealed under this key for this place.
        """
        try:
            return self._rows().decrypt(sealed, [place])
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError("a sealed row does not open") from error

    def fingerprint(self, content: bytes) -> str:
        """A keyed hash (HMAC-SHA-256) in hex: after erasure it confirms no guess."""
        if self._fingerprint_key is None:
            self._fingerprint_key = subkey(self._secret, b"fingerprint")
        return hmac.new(self._fingerprint_key, content, hashlib.sha256).hexdigest()

    def _rows(self) -> AESSIV:
        if self._siv is None:
            self._siv = AESSIV(subkey(self._secret, b"rows", SIV_KEY_BYTES))
        return self._siv
