"""Signed notes and checkpoints: texts of a few lines and the signatures below them.

By C2SP's specifications signed-note v1 (signatures of type 0x01, Ed25519) and tlog-checkpoint v1.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from chatledger.application.audit.merkle import HASH_BYTES
from chatledger.application.audit.strict_base64 import decode_base64

MOST_SIGNATURES = 100
MOST_BYTES = 1_000_000

_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_PUBLIC_KEY_BYTES = 32
_DASH = "\N{EM DASH} "
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")

IsSignedBy = Callable[[bytes, bytes, bytes], bool]
"""Whether a signature (last) of a message (second) was made with the private key of a public one (first)."""


class NoteError(ValueError):
    """A note, a key or a checkpoint is not written as it must be."""


class UnverifiedNoteError(NoteError):
    """No key that is trusted has signed a note, or a signature in the name of such a key is wrong."""


class VerifierKey(msgspec.Struct, frozen=True):
    """What somebody needs to check whether a note was signed by whom they trust.

    Attributes:
        name: whose key it is; no spaces and no plus.
        public: the 32 bytes of an Ed25519 public key (RFC 8032).
    """

    name: str
    public: bytes

    def __post_init__(self) -> None:
        """Refuse what no note could name."""
        if not _is_name(self.name):
            raise NoteError(f"a key's name has neither spaces nor a plus: {self.name!r}")
        if len(self.public) != _PUBLIC_KEY_BYTES:
            raise NoteError(f"an Ed25519 public key has {_PUBLIC_KEY_BYTES} bytes")

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read ``name+id+key``, as :meth:`__str__` writes it.

        Raises:
            NoteError: it is not written so, or the id is not that of the name and key.
        """
        name, _, rest = text.partition("+")
        claimed_id, _, encoded = rest.partition("+")
        typed = _from_base64(encoded, "a key")
        if typed[:1] != _ED25519:
            raise NoteError("only Ed25519 keys (type 0x01) are known")
        key = cls(name, typed[1:])
        if claimed_id != key.key_id.hex():
            raise NoteError(f"the key's id is {key.key_id.hex()}, not {claimed_id!r}")
        return key

    @property
    def key_id(self) -> bytes:
        """The 4 bytes by which a signature names it, next to its name."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64encode(_ED25519 + self.public).decode()}"


class NoteSigner(Protocol):
    """Whoever can sign a note."""

    @property
    def key(self) -> VerifierKey:
        """What its signatures are checked with."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature of a message (RFC 8032)."""
        ...


class NoteSignature(msgspec.Struct, frozen=True):
    """One line below a note, by a key that may or may not be known."""

    name: str
    key_id: bytes
    signature: bytes

    def is_of(self, key: VerifierKey) -> bool:
        """Whether it names this key; whether it is good is another question."""
        return (self.name, self.key_id) == (key.name, key.key_id)

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {b64encode(self.key_id + self.signature).decode()}\n"


class Note(msgspec.Struct, frozen=True):
    """A text and its signatures, none of them checked yet.

    Attributes:
        text: ends in a newline.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, raw: bytes) -> "Note":
        """Read a note.

        Raises:
            NoteError: it is not written as one.
        """
        if len(raw) > MOST_BYTES:
            raise NoteError(f"a note has at most {MOST_BYTES} bytes")
        try:
            written = raw.decode()
        except UnicodeDecodeError:
            raise NoteError("a note is UTF-8") from None
        if _CONTROL.search(written):
            raise NoteError("a note has no control characters")
        text, separator, below = written.rpartition("\n\n")
        if not separator or not below.endswith("\n"):
            raise NoteError("a note is a text, an empty line, and lines of signatures")
        lines = below.removesuffix("\n").split("\n")
        if len(lines) > MOST_SIGNATURES:
            raise NoteError(f"a note has at most {MOST_SIGNATURES} signatures")
        return cls(text + "\n", tuple(_signature(line) for line in lines))

    def __bytes__(self) -> bytes:
        return f"{self.text}\n{''.join(str(signature) for signature in self.signatures)}".encode()

    def verified(self, trusted: Iterable[VerifierKey], is_signed_by: IsSignedBy) -> list[VerifierKey]:
        """The keys among the ``trusted`` that have signed it: at least one. Signatures by other keys mean nothing.

        Raises:
            UnverifiedNoteError: there is none, or a signature that names one of them is wrong.
        """
        signers: list[VerifierKey] = []
        message = self.text.encode()
        for key in trusted:
            of_key = [signature for signature in self.signatures if signature.is_of(key)]
            if not all(is_signed_by(key.public, message, signature.signature) for signature in of_key):
                raise UnverifiedNoteError(f"a signature by {key.name}+{key.key_id.hex()} is wrong")
            if of_key:
                signers.append(key)
        if not signers:
            raise UnverifiedNoteError("no trusted key has signed the note")
        return signers


def sign_note(text: str, signers: Sequence[NoteSigner]) -> Note:
    """The note of a text, signed by each of the signers.

    Raises:
        NoteError: the text does not end in a newline, or has control characters.
    """
    if not text.endswith("\n") or _CONTROL.search(text):
        raise NoteError("a note's text ends in a newline and has no control characters")
    message = text.encode()
    signatures = [NoteSignature(each.key.name, each.key.key_id, each.sign(message)) for each in signers]
    return Note(text, tuple(signatures))


class Checkpoint(msgspec.Struct, frozen=True):
    """The head of a log's tree: what its notary signs.

    Attributes:
        origin: which log it is.
        size: how many leaves the tree has.
        root: the hash of all of them.
    """

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read a note's text as a checkpoint. Lines below the third are extensions, which mean nothing here.

        Raises:
            NoteError: it is not written as one.
        """
        if not text.endswith("\n"):
            raise NoteError("a checkpoint ends in a newline")
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < 3 or not all(lines):
            raise NoteError("a checkpoint has three lines: origin, size and root")
        origin, size, root = lines[:3]
        if not _SIZE.fullmatch(size):
            raise NoteError(f"a tree's size is a number, not {size!r}")
        decoded = _from_base64(root, "a root")
        if len(decoded) != HASH_BYTES:
            raise NoteError(f"a root has {HASH_BYTES} bytes")
        return cls(origin, int(size), decoded)

    @classmethod
    def opened(
        cls, note: Note, trusted: Iterable[VerifierKey], is_signed_by: IsSignedBy
    ) -> "tuple[Checkpoint, list[VerifierKey]]":
        """A note's checkpoint, and the keys among the ``trusted`` that have signed it.

        The one place where a signature begins to count. A key speaks for the log that it is named after and for no
        other: the text that is signed holds no key's name, so anybody could put another one below it.

        Raises:
            UnverifiedNoteError: none of them has, one is of another log, or a signature in its name is wrong.
            NoteError: it is no checkpoint.
        """
        checkpoint, signers = cls.parse(note.text), note.verified(trusted, is_signed_by)
        if others := {key.name for key in signers} - {checkpoint.origin}:
            raise UnverifiedNoteError(f"a key of {min(others)} signs nothing of another log, {checkpoint.origin}")
        return checkpoint, signers

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


def _signature(line: str) -> NoteSignature:
    if not line.startswith(_DASH):
        raise NoteError("a signature's line begins with an em dash and a space")
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not _is_name(name):
        raise NoteError(f"a key's name has neither spaces nor a plus: {name!r}")
    decoded = _from_base64(encoded, "a signature")
    if len(decoded) <= _KEY_ID_BYTES:
        raise NoteError("a signature is the id of its key and some bytes")
    return NoteSignature(name, decoded[:_KEY_ID_BYTES], decoded[_KEY_ID_BYTES:])


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(map(str.isspace, name)) and not _CONTROL.search(name)


def _from_base64(text: str, what: str) -> bytes:
    try:
        return decode_base64(text)
    except ValueError as error:
        raise NoteError(f"{what} is in base64: {error}") from None
