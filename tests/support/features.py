"""A server with everything switched on, and small files of each kind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx

from tests.support.chatting import ask, complete
from tests.support.fake_openai import FakeOpenAI, embeddings, spoken, transcription
from tests.support.server import LiveServer, a_context, live_server

EVERY_FEATURE: dict[str, Any] = {
    "opening_statement": "Good day.",
    "suggested_questions": ["What can you do?"],
    "suggested_questions_after_answer": {"enabled": True},
    "more_like_this": {"enabled": True},
    "speech_to_text": {"enabled": True},
    "text_to_speech": {"enabled": True},
    "annotation_reply": {"enabled": True},
    "file_upload": {"enabled": True, "kinds": ["image", "document", "audio", "video"]},
    "conversation_variables": [{"name": "mood", "value_type": "string", "default": "good"}],
}

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100"
    "18dd8db00000000049454e44ae426082"
)
"""One dot."""

WAV = bytes.fromhex("524946462400000057415645666d74201000000001000100401f0000803e0000020010006461746100000000")
"""A sound of no length."""

HEARD, SOUND = "Good day.", WAV
"""What the provider hears in every sound, and how everything that it says sounds."""


NOBODY_LISTENS = "http://127.0.0.1:9/"


@asynccontextmanager
async def server_with_provider(data_dir: Path, **settings: Any) -> AsyncIterator[LiveServer]:
    """A server whose provider, on the loopback, hears, speaks and tells texts apart."""
    async with FakeOpenAI() as provider:
        provider.always("/audio/transcriptions", lambda _: transcription(HEARD))
        provider.always("/audio/speech", lambda _: spoken(SOUND))
        provider.always("/embeddings", lambda request: embeddings(*map(_vector, request.body["input"])))
        settings |= {"openai_base_url": provider.base_url, "openai_api_key": "secret"}
        settings |= {"webhook_allowed_networks": (ip_network("127.0.0.0/8"),)}
        async with live_server(data_dir, **settings) as server:
            yield server


def _vector(text: str) -> list[float]:
    """Different texts are about at right angles."""
    return [byte - 127.5 for byte in sha256(text.encode()).digest()]


async def furnish(server: LiveServer) -> dict[str, str]:
    """Apps with everything switched on, and something of each kind in them: by their names, credentials and ids."""
    script = {"tokens": 2, "title": "A title", "suggestions": '["Why?"]'}
    chats = await server.new_app(configuration=EVERY_FEATURE, **script)
    completions = await server.new_app("completion", configuration=EVERY_FEATURE, **script)
    chat, completion = server.client(chats.api_key), server.client(completions.api_key)
    asked, doomed, completed = await ask(chat), await ask(chat), await complete(completion)
    uploaded = await upload(chat, "/v1")
    await ask(chat, files=[as_reference(uploaded)])
    link = httpx.URL(uploaded["source_url"]).params
    passports = await server.new_passport(chats.site_code), await server.new_passport(completions.site_code)
    visitor, body = server.client(passports[0]), {"inputs": {}, "query": "hello"}
    shown = await upload(visitor, "/api")
    seen = await visitor.post("/api/chat-messages", json=body | {"files": [as_reference(shown)]})
    glimpsed = await server.client(passports[1]).post("/api/completion-messages", json=body)
    await chat.post("/v1/chat-messages", json=body | {"query": "/script fail_as=quota", "user": "ada"})
    operator_token = await server.new_token("operate", "audit", "erase")
    application = server.running.application
    people = []
    for user in ("mallory", "grace", "oscar"):
        await ask(chat, user=user)
        people.append(await application.end_users.named(chats.app_id, "service-api", user))
    hold = await application.holds.place(people[1], "a case", a_context())
    await application.erasing.request(people[2], a_context())
    spare = await application.operators.issue("a spare one", ["audit"], a_context())
    endpoints = [
        await application.webhooks.register(NOBODY_LISTENS, a_context(), types=["AppDeleted"]) for _ in range(2)
    ]
    letters = (await server.client(operator_token).get("/v1/admin/dead-letters")).json()["data"]
    return {
        "CHAT_KEY": chats.api_key,
        "CHAT_MESSAGE": asked["id"],
        "CHAT_CONVERSATION": asked["conversation_id"],
        "CHAT_DOOMED": doomed["conversation_id"],
        "CHAT_VARIABLE": await a_variable(chat, "/v1", asked["conversation_id"]),
        "CHAT_PERSON": uploaded["created_by"],
        "CHAT_TASK": asked["task_id"],
        "CHAT_PASSPORT": passports[0],
        "CHAT_SEEN": seen.json()["id"],
        "CHAT_VISIT": seen.json()["conversation_id"],
        "VISIT_VARIABLE": await a_variable(visitor, "/api", seen.json()["conversation_id"]),
        "CHAT_TURN": seen.json()["task_id"],
        "COMPLETION_KEY": completions.api_key,
        "COMPLETION_MESSAGE": completed["id"],
        "COMPLETION_PASSPORT": passports[1],
        "COMPLETION_SEEN": glimpsed.json()["id"],
        "FILE": uploaded["id"],
        "CHAT_SHOWN": shown["id"],
        "FILE_EXPIRES": link["expires"],
        "FILE_SIGNATURE": link["signature"],
        "SITE_CODE": chats.site_code,
        "OPERATOR_TOKEN": operator_token,
        "DEAD_LETTER": letters[0]["message_id"],
        "CHAT_APP": str(chats.app_id),
        "HOLD": str(hold.hold_id),
        "ERASED_PERSON": str(people[2]),
        "SPARE_OPERATOR": str(spare.operator_id),
        "ENDPOINT": str(endpoints[0].endpoint_id),
        "SPARE_ENDPOINT": str(endpoints[1].endpoint_id),
    }


async def upload(client: httpx.AsyncClient, prefix: str) -> dict[str, Any]:
    """A small picture."""
    response = await client.post(
        f"{prefix}/files/upload", data={"user": "ada"}, files={"file": ("dot.png", PNG, "image/png")}
    )
    assert response.status_code == 201, response.text
    uploaded: dict[str, Any] = response.json()
    return uploaded


def as_reference(uploaded: dict[str, Any]) -> dict[str, Any]:
    """An upload as a message names it."""
    return {"type": "image", "transfer_method": "local_file", "upload_file_id": uploaded["id"]}


async def a_variable(client: httpx.AsyncClient, prefix: str, conversation_id: str) -> str:
    """The id of the one variable of a conversation."""
    page = (await client.get(f"{prefix}/conversations/{conversation_id}/variables")).json()
    (variable,) = page["data"]
    variable_id: str = variable["id"]
    return variable_id
