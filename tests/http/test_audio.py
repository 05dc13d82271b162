"""Audio by a provider that speaks OpenAI's protocol: heard, said, and said by itself after an answer."""

import asyncio
import base64
import io
import wave
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from chatledger.adapters.http.surface import HEARD_AT_ONCE
from chatledger.application.commands.speaking import MAX_AUDIO_BYTES
from tests.support.databases import ON_SQLITE
from tests.support.fake_openai import Event, FakeOpenAI, Refusal, Stall, Stream, spoken, transcription
from tests.support.server import LiveServer, answer_of, chat_body, events_of

pytestmark = ON_SQLITE  # nothing of audio is on the ledger

HEARS = {"speech_to_text": {"enabled": True}}
SPEAKS = {"text_to_speech": {"enabled": True, "voice": "nova"}}
PLAYS = {"text_to_speech": {"enabled": True, "auto_play": True}}


def wav() -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8_000)
        sound.writeframes(bytes(1_600))
    return held.getvalue()


MP3 = b"\xff\xfb\x90\x64" + bytes(400)


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        fake.always("/audio/transcriptions", lambda _: transcription("Good morning."))
        fake.always("/audio/speech", lambda request: spoken(b"<" + request.body["input"].encode() + b">"))
        yield fake


@pytest.fixture
async def audible(serve, provider: FakeOpenAI) -> AsyncIterator[LiveServer]:
    async with serve(openai_base_url=provider.base_url) as server:
        yield server


async def new_client(server: LiveServer, configuration: dict[str, Any], **script: Any) -> httpx.AsyncClient:
    return server.client(await server.new_key(configuration=configuration, **{"tokens": 3} | script))


async def hear(client: httpx.AsyncClient, audio: bytes = MP3, *, name: str = "a.mp3", **more: Any) -> httpx.Response:
    files = {"file": (name, audio, "audio/mp3")}
    return await client.post("/v1/audio-to-text", files=files, data={"user": "ada"} | more)


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


# Hearing


@pytest.mark.parametrize(
    ("audio", "sent_as"),
    [
        (MP3, "audio/mpeg"),
        (b"ID3\x04" + bytes(6) + MP3, "audio/mpeg"),
        (wav(), "audio/wav"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom" + bytes(30), "audio/mp4"),
        (b"#!AMR\n" + b"\x3c\x91\x17" + bytes(30), "audio/amr"),
    ],
)
async def test_what_is_said_is_written_down(audible, provider, audio, sent_as):
    client = await new_client(audible, HEARS)
    response = await hear(client, audio, name="whatever.txt")
    assert (response.status_code, response.json()) == (200, {"text": "Good morning."})
    assert f"Content-Type: {sent_as}".encode() in provider.requests[0].raw
    assert audio in provider.requests[0].raw


async def test_an_app_that_does_not_listen(audible, provider):
    response = await hear(await new_client(audible, SPEAKS))
    assert refusal(response) == (400, "speech_to_text_disabled")
    assert response.json()["message"] == "Speech to text is disabled."
    assert provider.requests == []


async def test_forms_without_one_audio_are_refused(audible):
    client = await new_client(audible, HEARS)
    one = ("file", ("a.mp3", MP3, "audio/mp3"))
    nothing = await client.post("/v1/audio-to-text", files=[("user", (None, "ada"))])
    assert refusal(nothing) == (400, "no_audio_uploaded")
    assert nothing.json()["message"] == "Please upload your audio."
    assert refusal(await client.post("/v1/audio-to-text", files=[one, one])) == (400, "too_many_files")
    assert refusal(await client.post("/v1/audio-to-text", json={})) == (415, "unsupported_media_type")


@pytest.mark.parametrize("audio", [b"", b"some words", b"\x89PNG\r\n\x1a\n" + bytes(64), b"OggS\0\x02" + bytes(60)])
async def test_what_is_no_such_audio_is_refused_whatever_it_says(audible, provider, audio):
    response = await hear(await new_client(audible, HEARS), audio)
    assert refusal(response) == (415, "unsupported_audio_type")
    assert response.json()["message"] == "Audio type not allowed."
    assert provider.requests == []


async def test_thirty_megabytes_and_no_more(audible, provider):
    client = await new_client(audible, HEARS)
    response = await hear(client, MP3 + bytes(MAX_AUDIO_BYTES + 1 - len(MP3)))
    assert refusal(response) == (413, "audio_too_large")
    assert response.json()["message"] == "Audio size larger than 30 mb"
    assert provider.requests == []
    assert (await hear(client, MP3 + bytes(MAX_AUDIO_BYTES - len(MP3)))).status_code == 200


async def test_what_is_declared_to_be_too_large_is_refused_unread(audible):
    client = await new_client(audible, HEARS)
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    head = (
        "POST /v1/audio-to-text HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Authorization: {client.headers['authorization']}\r\nContent-Length: {2 * MAX_AUDIO_BYTES}\r\n\r\n"
    )
    writer.write(head.encode())
    answered = await asyncio.wait_for(reader.readuntil(b"}"), 10)
    writer.close()
    assert b"413" in answered.splitlines()[0]
    assert b'"audio_too_large"' in answered


async def test_a_server_without_a_provider_cannot_listen(serve, provider):
    async with serve(openai_base_url=provider.base_url) as server:
        key = await server.new_key(configuration=HEARS)
    async with serve() as server:
        response = await hear(server.client(key))
    assert refusal(response) == (400, "provider_not_support_speech_to_text")
    assert response.json()["message"] == "Provider not support speech to text."


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Refusal(500, {"error": {"message": "Overloaded."}}), (400, "completion_request_error")),
        (Refusal(401, {"error": {"message": "Bad key"}}), (403, "provider_not_initialize")),
        (Refusal(429, {"error": {"message": "Pay.", "code": "insufficient_quota"}}), (429, "provider_quota_exceeded")),
    ],
)
async def test_what_the_provider_refuses_is_told(audible, provider, given, expected):
    provider.always("/audio/transcriptions", lambda _: given)
    provider.always("/audio/speech", lambda _: given)
    client = await new_client(audible, HEARS | SPEAKS)
    assert refusal(await hear(client)) == expected
    response = await client.post("/v1/text-to-audio", json={"text": "Hello", "user": "ada"})
    assert refusal(response) == expected
    assert ("retry-after" in response.headers) == (expected[0] == 429)


async def test_so_many_are_heard_at_once_and_no_more(audible, provider):
    provider.always("/audio/transcriptions", lambda _: Stream([], silent_for=30))
    app = await audible.new_app(configuration=HEARS)
    client, visitor = audible.client(app.api_key), await audible.new_visitor(app.site_code)
    waiting = [asyncio.create_task(hear(client)) for _ in range(HEARD_AT_ONCE)]
    await provider.asked(HEARD_AT_ONCE, within=20)
    for one, path in (client, "/v1/audio-to-text"), (visitor, "/api/audio-to-text"):
        response = await one.post(path, files={"file": ("a.mp3", MP3, "audio/mp3")})
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


# Speaking


async def test_a_text_is_said_by_the_apps_voice_or_the_one_that_is_named(audible, provider):
    client = await new_client(audible, SPEAKS)
    for given, asked in ({}, "nova"), ({"voice": "onyx"}, "onyx"), ({"voice": ""}, "nova"):
        response = await client.post("/v1/text-to-audio", json={"text": "Hello.", "user": "ada"} | given)
        assert (response.status_code, response.headers["content-type"]) == (200, "audio/mpeg")
        assert response.content == b"<Hello.>"
        assert provider.requests[-1].body["voice"] == asked


async def test_a_messages_answer_comes_before_a_text(audible):
    client = await new_client(audible, SPEAKS)
    message = (await client.post("/v1/chat-messages", json=chat_body())).json()
    asked = {"message_id": message["message_id"], "text": "something else", "user": "ada"}
    assert (await client.post("/v1/text-to-audio", json=asked)).content == b"<t0 t1 t2>"
    stranger = await client.post("/v1/text-to-audio", json=asked | {"user": "bob"})
    assert refusal(stranger) == (404, "not_found")
    assert stranger.json()["message"] == "Message Not Exists."
    other = await new_client(audible, SPEAKS)
    assert refusal(await other.post("/v1/text-to-audio", json=asked)) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": ""}, "text"),
        ({"text": " \n"}, "text"),
        ({"text": 5}, "text"),
        ({"text": "a", "voice": []}, "voice"),
        ({"message_id": "msg_1"}, "message_id"),
        ({"message_id": 3}, "message_id"),
    ],
)
async def test_nothing_to_say_is_refused(audible, provider, body, field):
    response = await (await new_client(audible, SPEAKS)).post("/v1/text-to-audio", json=body)
    assert (response.status_code, response.json()["code"], response.json()["params"]) == (400, "invalid_param", field)
    assert provider.requests == []


async def test_an_app_that_does_not_speak(audible):
    response = await (await new_client(audible, HEARS)).post("/v1/text-to-audio", json={"text": "a"})
    assert refusal(response) == (400, "invalid_param")
    assert response.json()["message"] == "TTS is not enabled"


async def test_sound_comes_in_pieces_and_ends_with_the_listener(audible, provider):
    provider.always("/audio/speech", lambda _: Stream([Event(b"x" * 40_000), Stall()]))
    client = await new_client(audible, SPEAKS)
    async with client.stream("POST", "/v1/text-to-audio", json={"text": "a"}) as response:
        async for piece in response.aiter_bytes():
            assert piece
            break
    await asyncio.wait_for(provider.requests[0].closed.wait(), 10)


# By itself


async def test_an_answer_is_said_after_its_end(audible, provider):
    client = await new_client(audible, PLAYS)

    response = await client.post("/v1/chat-messages", json=chat_body(response_mode="streaming"))

    events = events_of(response.text)
    kinds = [event["event"] for event in events]
    end = kinds.index("message_end")
    assert kinds[end + 1 :] == ["tts_message", "tts_message_end"]
    assert b"".join(base64.b64decode(event["audio"]) for event in events[end + 1 :]) == b"<t0 t1 t2>"
    assert events[-1]["audio"] == ""
    common = {"conversation_id", "message_id", "created_at", "task_id"}
    assert all(common <= set(event) for event in events)
    assert answer_of(events) == "t0 t1 t2 "
    again = events_of((await client.get(f"/v1/messages/{events[0]['message_id']}/stream")).text)
    assert again == events[: end + 1], "derived audio is not replayed"
    types = (await client.get(f"/v1/messages/{events[0]['message_id']}/events")).json()["data"]
    assert types[-1]["type"] == "MessageCompleted"


async def test_what_failed_is_not_said(audible, provider):
    client = await new_client(audible, PLAYS, fail_as="invalid", fail_after=1)
    events = events_of((await client.post("/v1/chat-messages", json=chat_body(response_mode="streaming"))).text)
    assert events[-1]["event"] == "error"
    assert provider.requests == []


async def test_an_answer_that_cannot_be_said_ends_as_it_should(audible, provider):
    provider.always("/audio/speech", lambda _: Refusal(500, {"error": {"message": "Overloaded."}}))
    client = await new_client(audible, PLAYS)
    events = events_of((await client.post("/v1/chat-messages", json=chat_body(response_mode="streaming"))).text)
    assert [event["event"] for event in events[-2:]] == ["message_end", "tts_message_end"]


async def test_a_listener_that_goes_ends_the_sound(audible, provider):
    provider.always("/audio/speech", lambda _: Stream([Event(b"x" * 40_000), Stall()]))
    client = await new_client(audible, PLAYS)
    async with client.stream("POST", "/v1/chat-messages", json=chat_body(response_mode="streaming")) as response:
        async for line in response.aiter_lines():
            if "tts_message" in line:
                break
    await asyncio.wait_for(provider.requests[0].closed.wait(), 10)
