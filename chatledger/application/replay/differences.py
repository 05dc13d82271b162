"""How two answers differ."""

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal

MOST_WORDS = 2_000
"""Longer texts are compared line by line: what compares words takes the square of their number, at worst."""

SHOWN_AROUND = 6
"""Words of what is the same that are shown beside what is not."""

_LETTERS_THAT_ARE_WORDS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"\s+|[{_LETTERS_THAT_ARE_WORDS}]|[^\s{_LETTERS_THAT_ARE_WORDS}]+")

Change = tuple[Literal["same", "gone", "new"], str]


def likeness(ours: str, theirs: str) -> float:
    """From 0 to 1, equal texts: twice what they share, in order, by what they have (Ratcliff and Obershelp).

    Words count; of long texts lines.
    """
    if ours == theirs:
        return 1.0
    return round(SequenceMatcher(None, *_units(ours, theirs), autojunk=False).ratio(), 4)


def changes(ours: str, theirs: str) -> Iterator[Change]:
    """What leads from one text to the other."""
    mine, others = _units(ours, theirs)
    for kind, i, j, k, m in SequenceMatcher(None, mine, others, autojunk=False).get_opcodes():
        if kind == "equal":
            yield "same", "".join(mine[i:j])
            continue
        if j > i:
            yield "gone", "".join(mine[i:j])
        if m > k:
            yield "new", "".join(others[k:m])


def marked(ours: str, theirs: str) -> str:
    """One text that shows both: ``[-what is gone-]`` and ``{+what is new+}``, and little of what is the same."""
    parts = []
    for kind, text in changes(ours, theirs):
        match kind:
            case "gone":
                parts.append(f"[-{text}-]")
            case "new":
                parts.append(f"{{+{text}+}}")
            case _:
                words = _WORD.findall(text)
                is_long = len(words) > 4 * SHOWN_AROUND
                shown = (*words[: 2 * SHOWN_AROUND], " ... ", *words[-2 * SHOWN_AROUND :]) if is_long else words
                parts.append("".join(shown))
    return "".join(parts)


def _units(ours: str, theirs: str) -> tuple[Sequence[str], Sequence[str]]:
    mine, others = _WORD.findall(ours), _WORD.findall(theirs)
    if max(len(mine), len(others)) <= MOST_WORDS:
        return mine, others
    return ours.splitlines(keepends=True), theirs.splitlines(keepends=True)
