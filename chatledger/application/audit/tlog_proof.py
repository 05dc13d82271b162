"""An inclusion proof and the checkpoint that it leads to, as one text: C2SP's specification tlog-proof v1."""

import re
from base64 import b64encode

import msgspec

from chatledger.application.audit.merkle import HASH_BYTES
from chatledger.application.audit.notes import NoteError
from chatledger.application.audit.strict_base64 import decode_base64

_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)

MOST_HASHES = 64


class TlogProof(msgspec.Struct, frozen=True):
    """That an entry is in a log.

    Attributes:
        index: of the entry, from 0 on.
        hashes: from the leaf's sibling up to the root's child.
        checkpoint: the signed note, byte for byte.
        extra: anything that goes with it. No proof covers it.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    @classmethod
    def parse(cls, raw: bytes) -> "TlogProof":
        """Read a proof; its checkpoint is not looked into.

        Raises:
            NoteError: it is not written as one.
        """
        head, separator, checkpoint = raw.partition(b"\n\n")
        if not separator:
            raise NoteError("a proof is some lines, an empty line, and a checkpoint")
        header, *lines = head.decode("ascii", "replace").split("\n")
        if header != _HEADER:
            raise NoteError(f"a proof's first line is {_HEADER}")
        extra = _decode(lines.pop(0).removeprefix("extra ")) if lines and lines[0].startswith("extra ") else None
        index = _INDEX.fullmatch(lines.pop(0)) if lines else None
        if index is None:
            raise NoteError("a proof names the index of its entry")
        if len(lines) > MOST_HASHES:
            raise NoteError(f"a proof has at most {MOST_HASHES} hashes")
        hashes = tuple(_decode(line) for line in lines)
        if any(len(each) != HASH_BYTES for each in hashes):
            raise NoteError(f"a hash has {HASH_BYTES} bytes")
        return cls(int(index[1]), hashes, checkpoint, extra)

    def __bytes__(self) -> bytes:
        lines = [_HEADER]
        if self.extra is not None:
            lines.append(f"extra {b64encode(self.extra).decode()}")
        lines += [f"index {self.index}", *(b64encode(each).decode() for each in self.hashes), "", ""]
        return "\n".join(lines).encode() + self.checkpoint


def _decode(text: str) -> bytes:
    try:
        return decode_base64(text)
    except ValueError as error:
        raise NoteError(f"a proof's hashes are in base64: {error}") from None
