"""What was said, written down; what was written, said. Neither is on the ledger."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from chatledger.application.accepting import accept_text
from chatledger.application.caller import Caller
from chatledger.application.erasure.disclosing import Disclosing
from chatledger.application.errors import (
    InvalidParameterError,
    SpeechToTextDisabledError,
    SpeechToTextUnsupportedError,
    UnsupportedAudioError,
)
from chatledger.application.features import Features
from chatledger.application.files.content_type import HEAD_BYTES, mime_type_of
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.generator import GeneratorError
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import AppView
from chatledger.application.queries.history import History

log = logging.getLogger(__name__)

MAX_AUDIO_BYTES = 30 * 1024 * 1024
AUDIO_TYPES = frozenset(("audio/amr", "audio/mp4", "audio/mpeg", "audio/wav"))


class Speaking:
    """The use cases of the audio routes, and of apps whose answers are spoken by themselves."""

    def __init__(
        self, ledger: Ledger, history: History, features: Features, disclosing: Disclosing, longest: int
    ) -> None:
        self._ledger = ledger
        self._history = history
        self._features = features
        self._disclosing = disclosing
        self._longest = longest

    def require_hearing(self, app: AppView) -> None:
        """Let an app pass that listens.

        Raises:
            SpeechToTextDisabledError: it does not.
        """
        if not app.configuration.speech_to_text.enabled:
            raise SpeechToTextDisabledError

    async def transcribe(self, caller: Caller, audio: bytes) -> str:
        """What is said. What the audio is, its bytes tell, whatever its name.

        Raises:
            SpeechToTextDisabledError: the app does not listen.
            UnsupportedAudioError: it is no audio of a kind that is understood.
            SpeechToTextUnsupportedError: the server has no provider for it any more.
            GeneratorError: the provider refused or failed.
        """
        self.require_hearing(caller.app)
        mime_type = mime_type_of(audio[:HEAD_BYTES])
        if mime_type not in AUDIO_TYPES:
            raise UnsupportedAudioError
        if not self._features.speech_to_text.is_available:
            raise SpeechToTextUnsupportedError
        return await self._features.speech_to_text.transcribe(audio, mime_type)

    async def speak(
        self, caller: Caller, *, message_id: UUID | None = None, text: str = "", voice: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """The answer of a message, else a text, as MP3 in pieces; whoever iterates closes it.

        Raises:
            InvalidParameterError: the app does not speak, or there is nothing to say.
            TooLongError: the text is too long.
            NotFoundError: the message is not the caller's.
            KeyDestroyedError: the message has been erased, or is while iterating.
            GeneratorError: while iterating: the provider refused or failed.
        """
        setting = caller.app.configuration.text_to_speech
        if not setting.enabled or not self._features.text_to_speech.is_available:
            raise InvalidParameterError("text_to_speech", "TTS is not enabled")
        text, voice = accept_text("text", text, self._longest), accept_text("voice", voice, self._longest)
        created = None
        if message_id is not None:
            text = (await self._history.message(caller, message_id)).answer
            created = await self._ledger.first(message_id)
        if not text.strip():
            field = "text" if message_id is None else "message_id"
            raise InvalidParameterError(field, "there is no text to speak")
        return self._spoken(text, voice or setting.voice, None if created is None else created.key_id)

    def speaks_by_itself(self, app: AppView) -> bool:
        """Whether the sound follows each streamed answer."""
        setting = app.configuration.text_to_speech
        return setting.enabled and setting.auto_play and self._features.text_to_speech.is_available

    async def follow_up(self, app: AppView, text: str, key_id: UUID | None) -> AsyncGenerator[bytes, None]:
        """An answer, sealed under a key, as MP3 in pieces.

        Where the provider fails they end, as the answer itself is there; and where it is erased.
        """
        if not text.strip():
            return
        pieces = self._spoken(text, app.configuration.text_to_speech.voice, key_id)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
        except GeneratorError as error:
            log.warning("app %s: an answer is not spoken: %s", app.app_id, error.kind)
        except KeyDestroyedError:
            log.info("app %s: an answer was erased before it was spoken to the end", app.app_id)
        except StorageUnavailableError:
            log.warning("app %s: an answer is not spoken to the end: the store is in trouble", app.app_id)

    async def _spoken(self, text: str, voice: str, key_id: UUID | None) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._features.text_to_speech.speak(text, voice)) as pieces:
            while True:
                async with self._disclosing.while_sealed(key_id):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield piece
