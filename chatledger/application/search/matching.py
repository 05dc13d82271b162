"""Whether a text has what is asked for, and where: the index alone cannot tell."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import msgspec

from chatledger.application.search.tokens import Kind, kind_of, runs

PASSAGE = 160
"""Characters around the first match of a passage, at most."""
MOST_PASSAGES = 3

_PARTS = re.compile(r'"([^"]*)"|([^"]+)')

Run = tuple[Kind, str]


class Passage(msgspec.Struct, frozen=True):
    """A piece of a text, and where in it the matches are: pairs of code points, from and before."""

    text: str
    highlights: Sequence[tuple[int, int]]


class Sought(msgspec.Struct, frozen=True):
    """What is asked for: each phrase is a row of words that have to follow each other; most have one word only."""

    phrases: Sequence[Sequence[Run]]

    @property
    def texts(self) -> Iterable[str]:
        """All words."""
        return (word for phrase in self.phrases for _, word in phrase)

    def is_in(self, *texts: str) -> bool:
        """Whether each phrase is in one of these texts."""
        written = [_written(runs(text)) for text in texts]
        return all(any(_written(phrase) in text for text in written) for phrase in self.phrases)

    def passages(self, text: str) -> list[Passage]:
        """Where the words are in a text: the first few places, each with what stands around it."""
        words = {word for phrase in self.phrases for kind, word in phrase if kind == "word"}
        dense = [word for phrase in self.phrases for kind, word in phrase if kind == "dense"]
        return _passages(text, sorted(_spans(text, words, dense)))


def sought(asked: str) -> Sought:
    """What a person asks for: words, all of which have to be there, and phrases in quotation marks."""
    phrases: list[Sequence[Run]] = []
    for quoted, plain in _PARTS.findall(asked):
        if quoted:
            phrases.append(runs(quoted))
        phrases += [(run,) for run in runs(plain)]
    return Sought([phrase for phrase in dict.fromkeys(map(tuple, phrases)) if phrase])


def _written(words: Iterable[Run]) -> str:
    """Words between blanks, so that none is found in the middle of another; where nothing parts words, one may be."""
    return "".join(f" {word} " if kind == "word" else word for kind, word in words)


def _spans(text: str, words: set[str], dense: Sequence[str]) -> Iterable[tuple[int, int]]:
    for start, end in _pieces(text):
        for kind, run in runs(text[start:end]):
            if kind == "word" and run in words:
                yield start, end
            elif kind == "dense":
                # As long as it is written, but for rare forms: then the whole piece is shown.
                is_aligned = len(run) == end - start
                for part in dense:
                    for found in re.finditer(re.escape(part), run):
                        yield (start + found.start(), start + found.end()) if is_aligned else (start, end)


def _pieces(text: str) -> Iterable[tuple[int, int]]:
    """Stretches of characters that belong together: of words, or of a script that does not part them."""
    start = 0
    before: Kind | None = None
    for place, character in enumerate(text):
        kind = before if unicodedata.combining(character) else kind_of(character)
        if kind != before:
            if before is not None:
                yield start, place
            start, before = place, kind
    if before is not None:
        yield start, len(text)


def _passages(text: str, spans: Sequence[tuple[int, int]]) -> list[Passage]:
    passages: list[Passage] = []
    left = list(dict.fromkeys(spans))
    while left and len(passages) < MOST_PASSAGES:
        start = max(0, left[0][0] - PASSAGE // 3)
        end = min(len(text), max(left[0][1], start + PASSAGE))
        inside = [span for span in left if span[1] <= end]
        passages.append(Passage(text[start:end], [(begin - start, over - start) for begin, over in inside]))
        left = [span for span in left if span[0] >= end]
    return passages
