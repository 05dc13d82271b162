"""What a file is, by its first bytes: neither its name nor what its sender says of it counts."""

import re
from typing import NamedTuple

import puremagic

from chatledger.domain.values import FileKind

HEAD_BYTES = 64 * 1024
"""So much of a file tells what it is."""

ARCHIVE = "application/zip"
UNKNOWN = "application/octet-stream"
PLAIN_TEXT = "text/plain"

_OFFICE = "application/vnd.openxmlformats-officedocument"
_DOCUMENTS = frozenset({
    "application/epub+zip",
    "application/json",
    "application/msword",
    "application/pdf",
    "application/rtf",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.text",
    "application/xml",
    f"{_OFFICE}.presentationml.presentation",
    f"{_OFFICE}.spreadsheetml.sheet",
    f"{_OFFICE}.wordprocessingml.document",
})  # fmt: skip
_MARKUP = frozenset(
    {"application/json", "application/pdf", "application/rtf", "application/xml", "image/svg+xml", "text/html"}
)
"""What consists of readable characters and is more than plain text all the same."""

_COMMON_NAMES = {
    "application/ogg": "audio/ogg",
    "application/x-matroska": "video/x-matroska",
    "audio/mp3": "audio/mpeg",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "image/pjpeg": "image/jpeg",
    "image/x-ms-bmp": "image/bmp",
    "text/rtf": "application/rtf",
    "text/xml": "application/xml",
}
_BY_EXTENSION = {".m4a": "audio/mp4", ".oga": "audio/ogg", ".ogg": "audio/ogg", ".3gp": "video/3gpp"}
"""Where the library knows an extension and no media type."""

_ZIP = b"PK\x03\x04"
_ZIP_FOLDERS = {
    b"word": f"{_OFFICE}.wordprocessingml.document",
    b"xl": f"{_OFFICE}.spreadsheetml.sheet",
    b"ppt": f"{_OFFICE}.presentationml.presentation",
}
_ZIP_ENTRY = re.compile(rb"PK(?:\x03\x04.{26}|\x01\x02.{42})(word|xl|ppt)/", re.DOTALL)
"""The header of a member in a folder that only such a document has; where the list of its types stands, is open.

Sources: APPNOTE.TXT of PKWARE, sections 4.3.7 and 4.3.12 (a name stands behind 30 bytes, in the directory at the end
behind 46); ECMA-376, part 2.
"""
_ZIP_OWN_WORD = re.compile(rb"mimetype([a-z]+/[a-z0-9.+-]+)PK")
"""OpenDocument and EPUB put their type first, as it is, into a member of this name."""

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
"""What no text has, in whatever encoding but UTF-16 and UTF-32. An escape (1B) switches alphabets in ISO 2022."""


class _Guess(NamedTuple):
    mime_type: str
    confidence: float
    matched: int


def mime_type_of(head: bytes) -> str:
    """The media type of a file that begins with these bytes; :data:`UNKNOWN` where they tell nothing.

    An archive tells more by its last bytes, which may follow its first ones here.
    """
    if head.startswith(_ZIP):
        return _type_of_zip(head)
    guesses = _guesses(head)
    if _CONTROL.search(head) is None:
        return next((guess.mime_type for guess in guesses if guess.mime_type in _MARKUP), PLAIN_TEXT)
    known = [guess for guess in guesses if kind_of(guess.mime_type) != "custom"]
    return known[0].mime_type if known else _bare_audio(head)


def kind_of(mime_type: str) -> FileKind:
    """What a message can carry a file of this type as; what is nothing else is ``custom``."""
    match mime_type.partition("/")[0]:
        case "image":
            return "image"
        case "audio":
            return "audio"
        case "video":
            return "video"
        case "text":
            return "document"
        case _:
            return "document" if mime_type in _DOCUMENTS else "custom"


def _guesses(head: bytes) -> list[_Guess]:
    """What the library takes it for, the surest first; of equals the one that more bytes speak for."""
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return []
    guesses = [
        _Guess(
            _COMMON_NAMES.get(match.mime_type, match.mime_type) or _BY_EXTENSION[match.extension],
            match.confidence,
            len(match.byte_match),
        )
        for match in found
        if match.mime_type or match.extension in _BY_EXTENSION
    ]
    return sorted(guesses, key=lambda guess: (-guess.confidence, -guess.matched))


def _bare_audio(head: bytes) -> str:
    """What the library does not know: MPEG audio of layer 2 or 3 without a tag before its first frame, and AMR.

    Sources: ISO/IEC 11172-3, section 2.4.1.3 (a frame's header); RFC 4867, section 5.
    """
    if head.startswith((b"#!AMR\n", b"#!AMR-WB\n")):
        return "audio/amr"
    if len(head) >= 4 and head[0] == 0xFF:
        is_frame, version, layer = head[1] & 0xE0 == 0xE0, head[1] >> 3 & 3, head[1] >> 1 & 3
        bit_rate, sampling = head[2] >> 4, head[2] >> 2 & 3
        if is_frame and version != 1 and layer in {1, 2} and bit_rate not in {0, 15} and sampling != 3:
            return "audio/mpeg"
    return UNKNOWN


def _type_of_zip(head: bytes) -> str:
    own_word = _ZIP_OWN_WORD.search(head, 0, 256)
    if own_word is not None and own_word[1].decode() in _DOCUMENTS:
        return own_word[1].decode()
    entry = _ZIP_ENTRY.search(head)
    return ARCHIVE if entry is None else _ZIP_FOLDERS[entry[1]]
