"""A moderator that looks for words, whatever their case, wherever they stand in a text."""

import asyncio
from collections.abc import Sequence
from functools import lru_cache

from chatledger.application.ports.generator import SettingsError
from chatledger.application.ports.moderator import AnsweredDirectly, Overridden, Passed, Verdict
from chatledger.domain.configuration import WordAvoidance
from chatledger.domain.values import ModerationStage

MAX_KEYWORDS = 1_000
MAX_CHARACTERS = 10_000

MUCH = 1_000_000
"""Words times characters that are too many to be looked through while others wait."""


class KeywordModerator:
    """Finds a keyword within a longer word as well. Where it overrides a text, asterisks stand in its place."""

    name = "keywords"
    cadence = 0

    def check_settings(self, avoidance: WordAvoidance) -> None:
        """Refuse a list without words, or with too many of them.

        Raises:
            SettingsError: the setting and the reason.
        """
        words = _words(avoidance.keywords)
        if not words:
            raise SettingsError("keywords: at least one is needed")
        if len(words) > MAX_KEYWORDS or sum(map(len, words)) > MAX_CHARACTERS:
            raise SettingsError(f"keywords: at most {MAX_KEYWORDS}, of {MAX_CHARACTERS} characters together")
        if avoidance.model:
            raise SettingsError("model: the type keywords asks no model")

    async def prepare(self) -> None:
        """Nothing is needed."""

    async def judge(self, stage: ModerationStage, text: str, avoidance: WordAvoidance, judged: int = 0) -> Verdict:
        """Look for any of the keywords."""
        words, longest = _folded_words(avoidance.keywords)
        start = max(0, judged - longest + 1)
        beginning, rest = text[:start], text[start:]
        found = await asyncio.to_thread(_found, words, rest) if len(words) * len(rest) > MUCH else _found(words, rest)
        if not found:
            return Passed()
        setting = avoidance.at(stage)
        if setting.action == "overridden":
            return Overridden(beginning + await asyncio.to_thread(_masked, rest, found))
        return AnsweredDirectly(setting.preset_response)


def _words(keywords: str | tuple[str, ...]) -> list[str]:
    lines = keywords.splitlines() if isinstance(keywords, str) else keywords
    return [word for line in lines if (word := line.strip())]


@lru_cache(maxsize=256)
def _folded_words(keywords: str | tuple[str, ...]) -> tuple[Sequence[str], int]:
    """The keywords without differences of case, and the length of the longest."""
    words = [_folded(word) for word in dict.fromkeys(_words(keywords))]
    return words, max(map(len, words))


def _folded(text: str) -> str:
    """A text without differences of case, each character in its place."""
    folded = text.casefold()
    if len(folded) == len(text):
        return folded
    return "".join(one if len(one := character.casefold()) == 1 else character.lower()[0] for character in text)


def _found(words: Sequence[str], text: str) -> Sequence[str]:
    # Word by word: one pattern of them all looks at each of them at each place, and lets nobody else have a turn.
    folded = _folded(text)
    return [word for word in words if word in folded]


def _masked(text: str, words: Sequence[str]) -> str:
    """The text with asterisks wherever one of the words stands, also where two of them overlap."""
    folded, masked = _folded(text), list(text)
    for word in words:
        place = folded.find(word)
        while place >= 0:
            masked[place : place + len(word)] = "*" * len(word)
            place = folded.find(word, place + 1)
    return "".join(masked)
