"""What hears and what speaks."""

from collections.abc import AsyncGenerator
from typing import Protocol


class SpeechToText(Protocol):
    """One way to write down what is said."""

    @property
    def is_available(self) -> bool:
        """Whether there is anybody to ask."""
        ...

    async def transcribe(self, audio: bytes, mime_type: str) -> str:
        """What is said.

        Raises:
            GeneratorError: the provider refused or failed.
        """
        ...


class TextToSpeech(Protocol):
    """One way to say what is written."""

    @property
    def is_available(self) -> bool:
        """Whether there is anybody to ask."""
        ...

    def speak(self, text: str, voice: str) -> AsyncGenerator[bytes, None]:
        """The text as MP3, in pieces as they come, of which there is one at least.

        An empty ``voice`` is the provider's usual one.

        Raises:
            GeneratorError: while iterating.
        """
        ...
