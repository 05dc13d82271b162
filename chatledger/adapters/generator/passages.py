"""Passages: what a document is cut into, small enough to quote and large enough to understand."""

import re
from collections.abc import Iterator
from itertools import groupby

import msgspec

MAX_LENGTH = 800
"""Characters of a passage at most."""

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_PLACES_TO_CUT = (re.compile(r"\n"), re.compile(r"(?<=[.!?])\s|(?<=[\u3002\uff01\uff1f])"), re.compile(r"\s"))


class Passage(msgspec.Struct, frozen=True):
    """A piece of a document.

    Attributes:
        headings: what it stands under, outermost first; the document's name where there is no heading.
        content: as it is written, never blank.
    """

    headings: tuple[str, ...]
    content: str

    @property
    def title(self) -> str:
        """All of its headings in one line."""
        return " > ".join(self.headings)


def title_of(text: str, name: str) -> str:
    """The first heading of a Markdown text, or the name if it has none."""
    titles = (heading[2] for line, fenced in _lines(text) if not fenced and (heading := _HEADING.fullmatch(line)))
    return next((title for title in titles if title), name)


def split_markdown(text: str, name: str) -> Iterator[Passage]:
    """Cut at headings first, then between paragraphs; a block of code stays whole if its length allows."""
    headings: list[tuple[int, str]] = []
    block: list[tuple[str, bool]] = []
    for line, fenced in _lines(text):
        heading = None if fenced else _HEADING.fullmatch(line)
        if heading is None:
            block.append((line, fenced))
            continue
        yield from _section(headings, block, name)
        block = []
        level = len(heading[1])
        headings = [(above, title) for above, title in headings if above < level]
        headings.append((level, heading[2]))
    yield from _section(headings, block, name)


def split_text(text: str, name: str) -> Iterator[Passage]:
    """Cut a plain text between paragraphs."""
    yield from _section([], [(line, False) for line in text.splitlines()], name)


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it belongs to a fenced block."""
    fence = ""
    for line in text.splitlines():
        mark = _FENCE.fullmatch(line)
        if not fence:
            fence = mark[1] if mark else ""
            yield line, mark is not None
        else:
            yield line, True
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = ""


def _section(headings: list[tuple[int, str]], lines: list[tuple[str, bool]], name: str) -> Iterator[Passage]:
    titles = tuple(text for _, text in headings if text) or (name,)
    gathered = ""
    for block in _blocks(lines):
        for piece in _pieces(block):
            joined = f"{gathered}\n\n{piece}" if gathered else piece
            if len(joined) > MAX_LENGTH and gathered:
                yield Passage(titles, gathered)
                joined = piece
            gathered = joined
    if gathered:
        yield Passage(titles, gathered)


def _blocks(lines: list[tuple[str, bool]]) -> Iterator[str]:
    """Paragraphs and fenced blocks; a blank line parts the former only."""
    for _, group in groupby(lines, lambda line: "fence" if line[1] else "gap" if not line[0].strip() else "text"):
        block = "\n".join(line.rstrip() for line, _ in group)
        if block.strip():
            yield block


def _pieces(block: str) -> Iterator[str]:
    """The block in pieces of bounded length, each of which can be read alone."""
    if len(block) <= MAX_LENGTH:
        yield block
        return
    first, *rest = block.split("\n")
    if mark := _FENCE.fullmatch(first):
        body = rest[:-1] if rest and _FENCE.fullmatch(rest[-1]) else rest
        for piece in _cut("\n".join(body), MAX_LENGTH - len(first) - len(mark[1]) - 2):
            yield f"{first}\n{piece}\n{mark[1]}"
    else:
        yield from _cut(block, MAX_LENGTH)


def _cut(text: str, limit: int) -> Iterator[str]:
    """Parts of at most ``limit`` characters: whole lines if they leave none too short, else sentences, else words."""
    limit = max(limit, MAX_LENGTH // 4)
    while len(text) > limit:
        ends = (max((place.end() for place in places.finditer(text, 0, limit)), default=0) for places in _PLACES_TO_CUT)
        end = next((end for end in ends if end > limit // 3), limit)
        if part := text[:end].rstrip():
            yield part
        text = text[end:].lstrip("\n")
    if text.strip():
        yield text
