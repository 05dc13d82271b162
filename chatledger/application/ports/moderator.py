"""Who judges what may be asked and answered."""

from typing import Protocol

import msgspec

from chatledger.domain.configuration import WordAvoidance
from chatledger.domain.values import ModerationStage


class Passed(msgspec.Struct, frozen=True):
    """The text may be said."""


class AnsweredDirectly(msgspec.Struct, frozen=True):
    """The text may not be said; this is answered in its place."""

    text: str


class Overridden(msgspec.Struct, frozen=True):
    """The text may be said in this form."""

    text: str


Verdict = Passed | AnsweredDirectly | Overridden


class Moderator(Protocol):
    """One way to judge.

    Attributes:
        name: what apps call it, as the ``type`` of their ``sensitive_word_avoidance``.
        cadence: how many characters of an answer may be delivered before they are judged. 0 has each piece judged
            before anybody sees it, as is right for a judge who costs nothing.
    """

    name: str
    cadence: int

    def check_settings(self, avoidance: WordAvoidance) -> None:
        """Refuse what could not be judged by.

        Raises:
            SettingsError: the setting and the reason.
        """
        ...

    async def prepare(self) -> None:
        """Load what judging needs, so that no verdict has to wait for it.

        Raises:
            GeneratorError: there will be no verdicts.
        """
        ...

    async def judge(self, stage: ModerationStage, text: str, avoidance: WordAvoidance, judged: int = 0) -> Verdict:
        """Whether a text may be said at this stage, which the app has switched on.

        Args:
            stage: whether it was asked or is being answered.
            text: the question or one of its inputs, whole; or the answer as far as it has come.
            avoidance: the app's settings.
            judged: how many characters at the beginning were passed before. What was found to be good may have to be
                seen again as the beginning of something else.

        Raises:
            GeneratorError: there is no verdict.
        """
        ...
