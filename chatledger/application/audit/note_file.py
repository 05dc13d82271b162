"""Signed notes in one file, one after the other: what a sink has kept."""

from collections.abc import Iterator

_DASH = "\N{EM DASH} ".encode()


def split_notes(raw: bytes) -> Iterator[bytes]:
    """Each note of a file; a note ends with its last line of a signature. What is no note comes out as it stands."""
    note: list[bytes] = []
    is_below = False
    for line in raw.splitlines(keepends=True):
        if is_below and not line.startswith(_DASH):
            yield b"".join(note)
            note, is_below = list[bytes](), False
        if note or line.strip():
            note.append(line)
        is_below = is_below or (len(note) > 1 and line.startswith(_DASH))
    if note:
        yield b"".join(note)
