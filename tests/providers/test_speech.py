"""Speech by OpenAI's protocol, from a server that speaks it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from chatledger.adapters.openai_clients import OpenAIClients
from chatledger.adapters.speech.openai_compatible import LONGEST_TEXT, OpenAISpeech
from chatledger.application.ports.generator import GeneratorError
from tests.support.fake_openai import Event, FakeOpenAI, Refusal, Stall, Stream, spoken, transcription


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
async def speech(provider: FakeOpenAI) -> AsyncIterator[OpenAISpeech]:
    clients = OpenAIClients(base_url=provider.base_url, read_timeout=2.0, environment={})
    yield OpenAISpeech(clients, hears_with="ears", speaks_with="mouth", usual_voice="alloy")
    await clients.close()


async def said(speech: OpenAISpeech, text: str, voice: str = "") -> bytes:
    return b"".join([piece async for piece in speech.speak(text, voice)])


@pytest.mark.parametrize(
    ("mime_type", "name"),
    [("audio/mpeg", "audio.mp3"), ("audio/mp4", "audio.m4a"), ("audio/wav", "audio.wav"), ("audio/amr", "audio.amr")],
)
async def test_what_is_heard_is_written_down(speech, provider, mime_type, name):
    provider.then(transcription("Good morning."))
    assert await speech.transcribe(b"some sound", mime_type) == "Good morning."
    (request,) = provider.requests
    assert request.path == "/v1/audio/transcriptions"
    for part in (b'name="model"\r\n\r\nears', f'filename="{name}"'.encode(), mime_type.encode(), b"some sound"):
        assert part in request.raw


@pytest.mark.parametrize(("given", "asked"), [("", "alloy"), ("nova", "nova")])
async def test_what_is_written_is_spoken(speech, provider, given, asked):
    provider.then(spoken(b"ID3 sound"))
    assert await said(speech, "Good morning.", given) == b"ID3 sound"
    (request,) = provider.requests
    expected = {"input": "Good morning.", "model": "mouth", "voice": asked, "response_format": "mp3"}
    assert (request.body, request.path) == (expected, "/v1/audio/speech")


async def test_a_long_text_is_spoken_in_parts_that_providers_take(speech, provider):
    provider.always("/audio/speech", lambda request: spoken(f"<{len(request.body['input'])}>".encode()))
    words = "word " * 2_000
    await said(speech, words)
    asked = [request.body["input"] for request in provider.requests]
    assert max(map(len, asked)) <= LONGEST_TEXT
    assert " ".join(asked) == words.strip()


async def test_silence_is_a_failure(speech, provider):
    provider.then(spoken(b""))
    with pytest.raises(GeneratorError) as raised:
        await said(speech, "text")
    assert raised.value.kind == "transient"


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (Refusal(500, {"error": {"message": "Oops."}}), "transient"),
        (Refusal(401, {"error": {"message": "Bad key"}}), "credentials"),
        (Refusal(400, {"error": {"message": "No such voice."}}), "invalid"),
    ],
)
async def test_a_refusal_is_a_failure_of_its_kind(speech, provider, response, kind):
    provider.then(response, response)
    for asking in (speech.transcribe(b"", "audio/wav"), said(speech, "text")):
        with pytest.raises(GeneratorError) as raised:
            await asking
        assert raised.value.kind == kind


async def test_a_transcription_without_a_text_is_a_failure(speech, provider):
    provider.then(Refusal(200, {"words": []}))
    with pytest.raises(GeneratorError):
        await speech.transcribe(b"", "audio/wav")


async def test_whoever_stops_listening_closes_the_providers_connection(speech, provider):
    provider.then(Stream([Event(b"x" * 100_000), Stall()]))
    async with aclosing(speech.speak("text", "")) as pieces:
        await anext(pieces)
    asked = await provider.asked()
    await asyncio.wait_for(asked.closed.wait(), 5)
