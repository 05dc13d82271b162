"""What a file may be called, and how large it may be."""

import re

import msgspec

from chatledger.application.accepting import accept_text
from chatledger.application.errors import InvalidParameterError
from chatledger.domain.configuration import FileUpload
from chatledger.domain.values import FileKind

MEGABYTE = 1024 * 1024
LONGEST_NAME = 200
LONGEST_EXTENSION = 32

_FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What leads to another folder, ends a line, or turns the direction of what follows (Unicode, UAX 9)."""

_NO_ENDING = "." + "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
"""What a system may drop at the end of a name: with it an extension would be another one than it seems."""


class FileLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes are megabytes of 1,048,576 bytes.

    Attributes:
        other: of documents, and of what is none of the others.
        blocked_extensions: what no name may end in, in lower case and without a dot.
    """

    image: int = 10
    audio: int = 50
    video: int = 100
    other: int = 15
    blocked_extensions: frozenset[str] = frozenset()

    def bytes_of(self, kind: FileKind) -> int:
        """The most that a file of this kind may have."""
        return {"image": self.image, "audio": self.audio, "video": self.video}.get(kind, self.other) * MEGABYTE

    @property
    def largest(self) -> int:
        """The most bytes that a file may have, of whatever kind."""
        return max(self.image, self.audio, self.video, self.other) * MEGABYTE

    def narrowed_by(self, upload: FileUpload) -> "FileLimits":
        """The limits of an app that has some of its own."""
        return msgspec.structs.replace(
            self,
            image=min(self.image, upload.image_file_size_limit or self.image),
            audio=min(self.audio, upload.audio_file_size_limit or self.audio),
            video=min(self.video, upload.video_file_size_limit or self.video),
            other=min(self.other, upload.file_size_limit or self.other),
        )

    def accept_name(self, given: object) -> str:
        """A file's name, without blanks and dots at its end; one too long loses what stands before its extension.

        Raises:
            InvalidParameterError: it would lead out of a folder or break a header, or ends in what is blocked.
        """
        name = given if isinstance(given, str) else accept_text("file", given)
        name = name.rstrip(_NO_ENDING)
        if not name or _FORBIDDEN.search(name):
            raise InvalidParameterError("file", "Filename contains invalid characters")
        name = accept_text("file", name)
        extension = extension_of(name)
        if extension in self.blocked_extensions:
            raise InvalidParameterError("file", f"File extension '.{extension}' is not allowed for security reasons")
        if len(name) <= LONGEST_NAME:
            return name
        kept = name[len(name) - len(extension) - 1 :] if extension else ""
        return name[: LONGEST_NAME - len(kept)] + kept


def plain_name(path: str) -> str:
    """The last part of a path as a file's name, without what no name may have; empty where nothing is left."""
    return _FORBIDDEN.sub("", path.replace("\\", "/").rpartition("/")[2]).rstrip(_NO_ENDING)


def extension_of(name: str) -> str:
    """What stands behind the last dot of a name, in lower case; nothing where that is no extension."""
    _, dot, extension = name.rpartition(".")
    return extension.lower() if dot and len(extension) <= LONGEST_EXTENSION else ""
