"""What was said, written down; what was written, said."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from chatledger.adapters.http.answers import HttpRequest, answer, answer_headers
from chatledger.adapters.http.bodies import read_body, text_field
from chatledger.adapters.http.entrance import Entrance
from chatledger.adapters.http.errors import HttpError
from chatledger.adapters.http.multipart import Part, read_form
from chatledger.adapters.http.openapi import BODY_ERRORS, FORM, Operation, Upload, User
from chatledger.adapters.http.reading import parse_uuid
from chatledger.adapters.http.streaming import streamed
from chatledger.adapters.http.surface import Surface
from chatledger.application.accepting import MAX_USER_CHARACTERS
from chatledger.application.commands.speaking import MAX_AUDIO_BYTES

MP3 = "audio/mpeg"


class AudioForm(msgspec.Struct, frozen=True, kw_only=True):
    """MP3, M4A, WAV or AMR, as its bytes show."""

    file: Upload
    user: Annotated[str, msgspec.Meta(max_length=MAX_USER_CHARACTERS)] = ""


class Transcription(msgspec.Struct, frozen=True):
    """What was said."""

    text: str


class SpeechRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The message whose answer is said, else the text; by whose voice. ``streaming`` makes no difference."""

    message_id: str | None = None
    text: str | None = None
    voice: str | None = None
    streaming: bool | None = None
    user: User | None = None


_HEAR = Operation(
    tag="Audio",
    summary="Write down what is said",
    body=AudioForm,
    body_type=FORM,
    answers={200: Transcription},
    errors=(*BODY_ERRORS, 408, 403, 429),
)
_SPEAK = Operation(
    tag="Audio",
    summary="Say what is written",
    description="`message_id` comes before `text`.",
    body=SpeechRequest,
    body_required=False,
    answers={200: MP3},
    errors=(*BODY_ERRORS, 403, 404, 429),
)


def audio_routes(surface: Surface, entrance: Entrance) -> Sequence[HTTPRouteHandler]:
    """The handlers."""
    speaking = surface.application.speaking

    @post(f"{entrance.prefix}/audio-to-text", status_code=200, opt=entrance.documented(_HEAR))
    async def write_down(request: HttpRequest) -> ASGIResponse:
        visit = await entrance.admit(request)
        surface.require_open(request)
        speaking.require_hearing(visit.app)
        visit.count_visitor()
        with surface.hearing:
            audio, user = await _read_audio(request)
            caller = visit.by_body({"user": user})
            text = await speaking.transcribe(caller, audio)
        return answer(request, Transcription(text))

    @post(f"{entrance.prefix}/text-to-audio", status_code=200, opt=entrance.documented(_SPEAK))
    async def say(request: HttpRequest) -> ASGIResponse:
        visit = await entrance.admit(request)
        surface.require_open(request)
        body = await read_body(request, surface.settings, optional=True)
        caller = visit.by_body(body)
        message_id = (text_field(body, "message_id") or "").strip()
        pieces = await speaking.speak(
            caller,
            message_id=parse_uuid("message_id", message_id) if message_id else None,
            text=text_field(body, "text") or "",
            voice=text_field(body, "voice") or "",
        )
        return await streamed(surface, pieces, status=200, media_type=MP3, headers=answer_headers(request))

    return write_down, say


async def _read_audio(request: HttpRequest) -> tuple[bytes, str | None]:
    """The one file of the form, and the user that it names.

    Raises:
        HttpError: it is no form, or has none, another, a second or too large a file.
    """
    audio: bytes | None = None
    user: str | None = None
    files = 0
    try:
        async with aclosing(read_form(request, MAX_AUDIO_BYTES)) as form:
            async for part in form:
                if part.filename is None:
                    user = await part.text() if part.name == "user" else user
                    continue
                files += 1
                if files == 1 and part.name == "file":
                    audio = await _whole(part)
    except HttpError as error:
        raise _too_large() if error.body.code == "file_too_large" else error from None
    if files > 1:
        raise HttpError(400, "Only one file is allowed.", code="too_many_files")
    if audio is None:
        raise HttpError(400, "Please upload your audio.", code="no_audio_uploaded")
    if len(audio) > MAX_AUDIO_BYTES:
        raise _too_large()
    return audio, user


async def _whole(part: Part) -> bytes:
    """All of a part, or so much of it that it is seen to be too large."""
    held = bytearray()
    async for piece in part.content:
        if len(held) <= MAX_AUDIO_BYTES:
            held += piece
    return bytes(held)


def _too_large() -> HttpError:
    return HttpError(413, "Audio size larger than 30 mb", code="audio_too_large")
