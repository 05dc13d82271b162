"""Audio: what was said, written down; what was written, said."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from chatledger.application.accepting import accept_id
from chatledger.application.errors import InvalidParameterError
from chatledger.embedding.access import Access


class Audio:
    """``ledger.audio``. The app's configuration switches either on; the server's own provider does it."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def transcribe(self, app: UUID, audio: bytes) -> str:
        """What is said in MP3, M4A, WAV or AMR, as the bytes show.

        Raises:
            InvalidParameterError: an argument is not acceptable.
            SpeechToTextDisabledError: the app does not listen.
            SpeechToTextUnsupportedError: there is no provider for it.
            UnsupportedAudioError: it is no audio of these kinds.
            GeneratorError: the provider refused or failed.
            NotFoundError: there is no such app.
        """
        with self._access.use() as application:
            if not isinstance(audio, bytes):
                raise InvalidParameterError("audio", "audio must be bytes")
            return await application.speaking.transcribe(await self._access.caller(app, None), audio)

    async def speak(
        self,
        app: UUID,
        *,
        message_id: UUID | None = None,
        text: str = "",
        voice: str = "",
        user: str | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The answer of a message, else a text, as MP3 in pieces.

        Raises:
            InvalidParameterError: an argument is not acceptable, the app does not speak, or there is nothing to say.
            GeneratorError: the provider refused or failed.
            NotFoundError: there is no such app, or the message is not its or the user's.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user)
            if message_id is not None:
                accept_id("message_id", message_id)
            spoken = await application.speaking.speak(caller, message_id=message_id, text=text, voice=voice)
            async with aclosing(spoken) as pieces:
                async for piece in pieces:
                    yield piece
