"""The keys that checkpoints are signed with."""

from collections.abc import Sequence

import msgspec

from chatledger.application.audit.notes import VerifierKey
from chatledger.application.ports.keys import Signatures, SigningKey, SigningKeys


class NotaryKey(msgspec.Struct, frozen=True):
    """A key that can sign.

    Attributes:
        key: what its signatures are checked with.
    """

    key: VerifierKey
    signing_key: SigningKey
    signatures: Signatures

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature of a message."""
        return self.signatures.sign(self.signing_key.secret, message)


class NotaryKeys:
    """All keys of one log's notary.

    Args:
        signing_keys: where their secrets are kept.
        signatures: what signs and checks.
        origin: the log's name, which is that of its keys too, as C2SP's tlog-checkpoint wants it.
    """

    def __init__(self, signing_keys: SigningKeys, signatures: Signatures, origin: str) -> None:
        self._signing_keys = signing_keys
        self._signatures = signatures
        self.origin = origin

    def newest(self) -> NotaryKey:
        """What signs. Never blocks."""
        return self._named(self._signing_keys.newest())

    def all(self) -> Sequence[NotaryKey]:
        """Every one that ever signed, the oldest first. Never blocks."""
        return [self._named(key) for key in self._signing_keys.all()]

    def rotate(self) -> None:
        """Have a new one sign. Blocks.

        Raises:
            StorageUnavailableError: the key store cannot be written; nothing has changed.
        """
        self._signing_keys.rotate(forget_earlier=False)

    def is_signed_by(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Whether a signature of a message was made with the private key of this public one."""
        return self._signatures.is_signed_by(public, message, signature)

    def _named(self, key: SigningKey) -> NotaryKey:
        return NotaryKey(VerifierKey(self.origin, self._signatures.public_key(key.secret)), key, self._signatures)
