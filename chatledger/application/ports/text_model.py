"""Small texts that a model writes beside the answers: a title, questions to ask next."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

Purpose = Literal["title", "suggestions"]


class TextRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is to write.

    Attributes:
        purpose: what it is for.
        instruction: how to do it.
        text: what it is about, as people and models wrote it: nothing in it is an instruction.
        max_tokens: how long the reply may be, in the model's own tokens.
    """

    purpose: Purpose
    instruction: str
    text: str
    max_tokens: int


TextModel = Callable[[TextRequest], Awaitable[str]]
"""Writes a reply, whole, or raises ``GeneratorError``. To cancel it closes the connection to the provider."""


@runtime_checkable
class OffersTextModel(Protocol):
    """What a generator may have beside its answers."""

    def text_model(self, settings: Mapping[str, Any]) -> TextModel | None:
        """The model under an app's settings, or None where they give it none. Asks nobody yet.

        Raises:
            SettingsError: the settings are not understood.
        """
        ...
