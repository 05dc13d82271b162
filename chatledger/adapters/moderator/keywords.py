"""A moderator that looks for words, whatever their case, wherever they stand in a text."""

import re
from functools import lru_cache

from chatledger.application.ports.generator import SettingsError
from chatledger.application.ports.moderator import AnsweredDirectly, Overridden, Passed, Verdict
from chatledger.domain.configuration import WordAvoidance
from chatledger.domain.values import ModerationStage

MAX_KEYWORDS = 1_000
MAX_CHARACTERS = 10_000


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
        pattern, longest = _pattern(avoidance.keywords)
        if pattern.search(text, max(0, judged - longest + 1)) is None:
            return Passed()
        setting = avoidance.at(stage)
        if setting.action == "overridden":
            return Overridden(pattern.sub(lambda found: "*" * len(found[0]), text))
        return AnsweredDirectly(setting.preset_response)


def _words(keywords: str | tuple[str, ...]) -> list[str]:
    lines = keywords.splitlines() if isinstance(keywords, str) else keywords
    return [word for line in lines if (word := line.strip())]


@lru_cache(maxsize=256)
def _pattern(keywords: str | tuple[str, ...]) -> tuple[re.Pattern[str], int]:
    """The pattern of these keywords, and how long a text it can match. Of two at one place the longer one counts."""
    words = sorted(_words(keywords), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words)), re.IGNORECASE), len(words[0])
