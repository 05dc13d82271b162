"""The files of a message in OpenAI's protocol: pictures, sounds, and what texts say."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from chatledger.application.ports.generator import GeneratorError, SentFile

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionContentPartParam as ContentPart

MOST_BYTES = 20 * 1024 * 1024
"""Of one file. All of it is in memory, and goes in one request."""

MOST_TEXT_BYTES = 512 * 1024
"""Of one text: more is longer than what any model takes in."""

_SOUNDS: Mapping[str, Literal["mp3", "wav"]] = {"audio/mpeg": "mp3", "audio/wav": "wav"}
_TEXTS = frozenset({"application/json", "application/xml"})


async def file_parts(files: Sequence[SentFile]) -> "list[ContentPart]":
    """What of a user message the files are.

    Raises:
        GeneratorError: the protocol has no form for one of them, or it is too large.
    """
    return [await _part(file) for file in files]


async def _part(file: SentFile) -> "ContentPart":
    mime_type = file.mime_type or ""
    if file.kind == "image" and file.url is not None:
        return _picture(file.url, file)
    if mime_type.startswith("image/"):
        return _picture(f"data:{mime_type};base64,{_in_letters(await file.read(MOST_BYTES))}", file)
    if mime_type in _SOUNDS:
        data = _in_letters(await file.read(MOST_BYTES))
        return {"type": "input_audio", "input_audio": {"data": data, "format": _SOUNDS[mime_type]}}
    if (text := await text_of(file)) is not None:
        return {"type": "text", "text": text}
    raise cannot_be_given(file)


async def text_of(file: SentFile) -> str | None:
    """What a text says, below its name; None for a file that is no text.

    Raises:
        GeneratorError: it is too large, or cannot be read.
    """
    mime_type = file.mime_type or ""
    if not mime_type.startswith("text/") and mime_type not in _TEXTS:
        return None
    text = (await file.read(MOST_TEXT_BYTES)).decode(errors="replace")
    return f"{file.name}:\n\n{text}"


def cannot_be_given(file: SentFile) -> GeneratorError:
    """That a model has no use for a file."""
    return GeneratorError("invalid", f"The model cannot be given the file {file.name} ({file.mime_type or file.kind}).")


def _picture(url: str, file: SentFile) -> "ContentPart":
    return {"type": "image_url", "image_url": {"url": url, "detail": file.detail or "auto"}}


def _in_letters(content: bytes) -> str:
    return b64encode(content).decode()
