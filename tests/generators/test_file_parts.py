"""What OpenAI's protocol makes of the files of a message."""

import random
from base64 import b64decode
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from chatledger.adapters.generator.file_parts import MOST_BYTES, MOST_TEXT_BYTES, file_parts
from chatledger.application.ports.generator import GeneratorError, SentFile
from chatledger.domain.values import FileKind

PNG = b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(1000)


def stored(content: bytes, mime_type: str, kind: FileKind = "document", **more: Any) -> SentFile:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield content[:400]
        yield content[400:]

    return SentFile(kind=kind, name="a file", mime_type=mime_type, size=len(content), open=pieces, **more)


async def test_a_stored_picture_goes_along_as_it_is() -> None:
    (part,) = await file_parts([stored(PNG, "image/png", "image", detail="low")])
    head, _, data = part["image_url"]["url"].partition(",")
    assert (part["type"], head, part["image_url"]["detail"]) == ("image_url", "data:image/png;base64", "low")
    assert b64decode(data) == PNG


async def test_a_picture_on_the_web_is_named() -> None:
    (part,) = await file_parts([SentFile(kind="image", name="a", url="https://example.org/a.png")])
    assert part == {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "auto"}}


@pytest.mark.parametrize(("mime_type", "form"), [("audio/mpeg", "mp3"), ("audio/wav", "wav")])
async def test_sounds_that_the_protocol_knows(mime_type: str, form: str) -> None:
    (part,) = await file_parts([stored(PNG, mime_type, "audio")])
    assert (part["type"], part["input_audio"]["format"]) == ("input_audio", form)
    assert b64decode(part["input_audio"]["data"]) == PNG


@pytest.mark.parametrize("mime_type", ["text/plain", "text/html", "application/json"])
async def test_texts_are_told(mime_type: str) -> None:
    parts = await file_parts([stored("Grüße".encode() + b"\xff", mime_type)])
    assert parts == [{"type": "text", "text": "a file:\n\nGrüße\N{REPLACEMENT CHARACTER}"}]


@pytest.mark.parametrize(
    "file",
    [
        stored(b"%PDF", "application/pdf"),
        stored(b"", "video/mp4", "video"),
        stored(b"", "audio/flac", "audio"),
        stored(b"", "application/octet-stream", "custom"),
        SentFile(kind="document", name="a", url="https://example.org/a.txt"),
        SentFile(kind="audio", name="a", url="https://example.org/a.mp3"),
        stored(bytes(MOST_BYTES + 1), "image/png", "image"),
        stored(bytes(MOST_TEXT_BYTES + 1), "text/plain"),
    ],
    ids=["pdf", "film", "flac", "unknown", "text on the web", "sound on the web", "large picture", "long text"],
)
async def test_what_it_has_no_form_for_is_refused(file: SentFile) -> None:
    with pytest.raises(GeneratorError) as refused:
        await file_parts([file])
    assert refused.value.kind == "invalid"
