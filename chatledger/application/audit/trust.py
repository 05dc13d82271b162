"""Whose signatures count for an auditor."""

from collections.abc import Sequence

from chatledger.application.audit.notes import Checkpoint, IsSignedBy, Note, UnverifiedNoteError, VerifierKey


class Trust:
    """The keys that count, and those that they vouch for.

    Attributes:
        is_given: whether the auditor has brought keys. If not, those count that the ledger itself introduces: that
            proves nothing about whoever could write all of it.
        keys: those that count.
    """

    def __init__(self, given: Sequence[VerifierKey], is_signed_by: IsSignedBy) -> None:
        self.is_given = bool(given)
        self.keys = list(given)
        self._is_signed_by = is_signed_by
        self._introduced: list[tuple[int, VerifierKey]] = []
        self._own: list[VerifierKey] = []

    def introduce(self, position: int, key: VerifierKey) -> None:
        """The ledger says at this position that a key signs from there on."""
        self._own.append(key)
        if self.is_given:
            self._introduced.append((position, key))
        elif key not in self.keys:
            self.keys.append(key)

    def vouch(self, size: int) -> None:
        """A key that counts has signed so many events, and with them the keys that they introduce."""
        self.keys += [key for position, key in self._introduced if position <= size and key not in self.keys]
        self._introduced = [(position, key) for position, key in self._introduced if position > size]

    def is_own(self, note: Note) -> bool:
        """Whether one of the keys that the ledger has introduced so far has signed a note, whether it counts or not."""
        try:
            return bool(Checkpoint.opened(note, self._own, self._is_signed_by))
        except UnverifiedNoteError:
            return False

    def is_named_by(self, note: Note) -> bool:
        """Whether a note says that one of the keys that count has signed it."""
        return any(signature.is_of(key) for signature in note.signatures for key in self.keys)

    def require_signer(self, note: Note) -> None:
        """Pass if a key that counts has signed a note of its log.

        Raises:
            UnverifiedNoteError: none has, or a signature that names one of them is wrong.
        """
        Checkpoint.opened(note, self.keys, self._is_signed_by)
