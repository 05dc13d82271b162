"""Signed notes in one file, one after the other: what a sink has kept."""

import re
from collections.abc import Iterator

_LAST_SIGNATURE = re.compile(rb"^(\xe2\x80\x94 [^\n]*\n)(?!\xe2\x80\x94 |\n)", re.MULTILINE)
_DASH = "\N{EM DASH} ".encode()


def split_notes(raw: bytes) -> Iterator[bytes]:
    """What stands in a file of notes, each with its signatures; a note that was cut short comes out as it stands.

    Between two blocks of lines is an empty line: that between a note's text and its signatures, or that between two
    notes, where it may be left out. So nothing that was cut short takes the next note with it.
    """
    raw = _LAST_SIGNATURE.sub(rb"\1\n", raw)
    text: bytes | None = None
    for block in filter(None, (block.strip(b"\n") for block in raw.split(b"\n\n"))):
        is_below = block.startswith(_DASH)
        if is_below and text is not None:
            yield text + b"\n\n" + block + b"\n"
            text = None
        elif is_below:
            yield block
        else:
            if text is not None:
                yield text
            text = block
    if text is not None:
        yield text
