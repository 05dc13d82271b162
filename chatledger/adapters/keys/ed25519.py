"""Ed25519 signatures (RFC 8032)."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def is_signed_by(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature of a message was made with the secret of this public key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Ed25519Signatures:
    """By the ``cryptography`` library."""

    is_signed_by = staticmethod(is_signed_by)

    def public_key(self, secret: bytes) -> bytes:
        """The 32 bytes that signatures made with this secret are checked with."""
        return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()

    def sign(self, secret: bytes, message: bytes) -> bytes:
        """The signature of a message."""
        return Ed25519PrivateKey.from_private_bytes(secret).sign(message)
