"""Search tokens: what a text can be found by, in scripts with spaces between the words and in those without."""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Literal

# By the first word of a character's Unicode name.
_SCRIPTS_WITHOUT_SPACES = frozenset(
    (
        "BOPOMOFO",
        "CJK",
        "HANGUL",
        "HIRAGANA",
        "IDEOGRAPHIC",
        "JAVANESE",
        "KATAKANA",
        "KATAKANA-HIRAGANA",
        "KHMER",
        "LAO",
        "MYANMAR",
        "NEW",
        "TAI",
        "THAI",
        "TIBETAN",
        "YI",
    )
)
_ACCENTS = range(0x300, 0x370)

Kind = Literal["word", "dense"]


def indexed_tokens(text: str) -> Iterator[str]:
    """Everything that a text shall be found by: words; where nothing parts them, characters and pairs of them."""
    for kind, run in _runs(text):
        if kind == "dense":
            yield from run
            yield from map("".join, pairwise(run))
        else:
            yield run


def asked_tokens(text: str) -> Iterator[str]:
    """What to look for: words and pairs of characters; a character only where it stands alone."""
    for kind, run in _runs(text):
        if kind == "dense" and len(run) > 1:
            yield from map("".join, pairwise(run))
        else:
            yield run


def runs(text: str) -> list[tuple[Kind, str]]:
    """The words of a text as they are compared, and what stands together where nothing parts the words."""
    return list(_runs(text))


def count_words(text: str) -> int:
    """How long a text is: in words or, where nothing parts them, in characters."""
    return sum(len(run) if kind == "dense" else 1 for kind, run in _runs(text))


def _runs(text: str) -> Iterator[tuple[Kind, str]]:
    for kind, characters in groupby(unicodedata.normalize("NFKC", text).lower(), _kind):
        if kind is None:
            continue
        run = "".join(characters)
        yield kind, run if kind == "dense" or run.isascii() else _without_accents(run)


@lru_cache(maxsize=65_536)
def kind_of(character: str) -> Kind | None:
    """What a character is part of; None for what parts words."""
    return next((kind for kind, _ in _runs(character)), None)


@lru_cache(maxsize=65_536)
def _kind(character: str) -> Kind | None:
    if unicodedata.category(character)[0] not in "LNM":
        return None
    script = unicodedata.name(character, "").partition(" ")[0]
    return "dense" if script in _SCRIPTS_WITHOUT_SPACES else "word"


def _without_accents(word: str) -> str:
    letters = (letter for letter in unicodedata.normalize("NFKD", word) if ord(letter) not in _ACCENTS)
    return unicodedata.normalize("NFC", "".join(letters)) or word
