"""Speech by OpenAI's protocol, from the server's own provider: heard by one of its models, spoken by another."""

import asyncio
import importlib
import textwrap
from collections.abc import AsyncGenerator

import msgspec

from chatledger.adapters.openai_clients import OpenAIClients
from chatledger.application.ports.generator import GeneratorError

LONGEST_TEXT = 4_000
"""Characters in one request; providers take no more than 4,096."""

PIECE = 16 * 1024
"""Bytes."""

_EXTENSIONS = {"audio/mpeg": "mp3", "audio/mp4": "m4a", "audio/wav": "wav", "audio/amr": "amr", "audio/webm": "webm"}


class _Transcription(msgspec.Struct, frozen=True):
    """What is read of a response. The SDK passes on whatever shape came, so it is checked here."""

    text: str


class OpenAISpeech:
    """Hears and speaks."""

    def __init__(self, clients: OpenAIClients, *, hears_with: str, speaks_with: str, usual_voice: str) -> None:
        self._clients = clients
        self._hears_with = hears_with
        self._speaks_with = speaks_with
        self._usual_voice = usual_voice
        self._is_loaded = False

    @property
    def is_available(self) -> bool:
        """Whether the server has a provider."""
        return self._clients.has_provider

    async def transcribe(self, audio: bytes, mime_type: str) -> str:
        """What is said.

        Raises:
            GeneratorError: the provider refused or failed.
        """
        await self._load()
        # Providers go by the name's extension.
        file = (f"audio.{_EXTENSIONS.get(mime_type, 'bin')}", audio, mime_type)
        async with self._clients.asking() as (client, headers):
            given = await client.audio.transcriptions.create(file=file, model=self._hears_with, extra_headers=headers)
            return msgspec.convert(given, _Transcription, from_attributes=True).text

    async def speak(self, text: str, voice: str) -> AsyncGenerator[bytes, None]:
        """The text as MP3. A long one is asked for in parts, which one after another are one MP3 as well.

        Raises:
            GeneratorError: the provider refused or failed, or gave no sound.
        """
        await self._load()
        is_silent = True
        for part in textwrap.wrap(text, LONGEST_TEXT):
            async with self._clients.asking() as (client, headers):
                response = client.audio.speech.with_streaming_response.create(
                    input=part,
                    model=self._speaks_with,
                    voice=voice or self._usual_voice,
                    response_format="mp3",
                    extra_headers=headers,
                )
                async with response as spoken:
                    async for piece in spoken.iter_bytes(PIECE):
                        is_silent = False
                        yield piece
        if is_silent:
            raise GeneratorError("transient", "The provider gave no sound.")

    async def _load(self) -> None:
        """Load what the SDK would load within the first request, off the event loop."""
        if not self._is_loaded:
            await asyncio.to_thread(importlib.import_module, "openai.resources.audio")
            self._is_loaded = True
