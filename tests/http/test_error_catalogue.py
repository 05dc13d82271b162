"""The error catalogue of the wire contract, sections 1.5 (as section 15 changes it) and 18: each row, over HTTP."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from tests.support.chatting import ask, begin, complete
from tests.support.databases import NewLedger, settings_of
from tests.support.features import PNG, WAV, server_with_provider
from tests.support.server import LiveServer, a_context, chat_body, live_server

NOWHERE = "00000000-0000-4000-8000-000000000000"
MEGABYTE = 1024 * 1024
CHAT = "/v1/chat-messages"


class House:
    """Apps to ask wrongly."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server

    async def app(self, mode: Any = "chat", **configuration: Any) -> httpx.AsyncClient:
        """A client with the key of a new app."""
        settings = {"settings": {"tokens": 1}} | configuration
        return self.server.client(await self.server.new_key(mode, configuration=settings))

    async def visitor(self, mode: Any = "chat", **configuration: Any) -> httpx.AsyncClient:
        """A client with the passport of a visitor of a new app."""
        app = await self.server.new_app(mode, configuration={"settings": {"tokens": 1}} | configuration)
        return await self.server.new_visitor(app.site_code)


Provoke = Callable[[House], Awaitable[httpx.Response]]


@dataclass(frozen=True)
class Row:
    """One way to meet a row of the catalogue.

    Attributes:
        params: the field that the refusal names.
        says_when: whether it says when to ask again.
    """

    code: str
    status: int
    message: str
    provoke: Provoke
    params: str | None = None
    says_when: bool = False


async def chatted(house: House, query: str = "hello", *, body: dict[str, Any] | None = None) -> httpx.Response:
    return await (await house.app()).post("/v1/chat-messages", json=chat_body(query) | (body or {}))


async def got(house: House, path: str, **query: Any) -> httpx.Response:
    return await (await house.app()).get(path, params=query)


async def without_user(house: House) -> httpx.Response:
    return await chatted(house, body={"user": None})


async def a_rating_of_nothing_withdrawn(house: House) -> httpx.Response:
    chat = await house.app()
    return await chat.post(f"/v1/messages/{(await ask(chat))['id']}/feedbacks", json={"rating": None})


async def a_variable_of_another_type(house: House) -> httpx.Response:
    chat = await house.app(conversation_variables=[{"name": "age", "value_type": "number", "default": 1}])
    path = f"/v1/conversations/{(await ask(chat))['conversation_id']}/variables"
    (variable,) = (await chat.get(path, params={"user": "ada"})).json()["data"]
    return await chat.put(f"{path}/{variable['id']}", json={"value": "old", "user": "ada"})


async def no_json(house: House) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return await (await house.app()).post("/v1/chat-messages", content=b"{", headers=headers)


async def a_completion_app_that_chats(house: House) -> httpx.Response:
    return await (await house.app("completion")).post("/v1/chat-messages", json=chat_body())


async def a_chat_app_that_completes(house: House) -> httpx.Response:
    return await (await house.app()).post("/v1/completion-messages", json=chat_body())


async def a_visitor_of_a_chat_app_that_completes(house: House) -> httpx.Response:
    return await (await house.visitor()).post("/api/completion-messages", json={"inputs": {}, "query": "hello"})


async def more_like_this(house: House) -> httpx.Response:
    completion = await house.app("completion")
    message = (await complete(completion))["id"]
    return await completion.get(f"/v1/messages/{message}/more-like-this", params={"response_mode": "blocking"})


async def suggested(house: House) -> httpx.Response:
    chat = await house.app()
    return await chat.get(f"/v1/messages/{(await ask(chat))['id']}/suggested", params={"user": "ada"})


async def one_answer_too_many(house: House) -> httpx.Response:
    chat = await house.app(limits={"concurrency": 1})
    event, reading = await begin(chat, "/script tokens=10000 interval_ms=5")
    try:
        return await chat.post("/v1/chat-messages", json=chat_body())
    finally:
        await chat.post(f"/v1/chat-messages/{event['task_id']}/stop", json={"user": "ada"})
        await reading


async def a_message_that_would_not_wait(house: House) -> httpx.Response:
    chat = await house.app()
    event, reading = await begin(chat, "/script tokens=10000 interval_ms=5")
    try:
        body = chat_body(conversation_id=event["conversation_id"], on_busy="reject")
        return await chat.post("/v1/chat-messages", json=body)
    finally:
        await chat.post(f"/v1/chat-messages/{event['task_id']}/stop", json={"user": "ada"})
        await reading


async def one_request_too_many(house: House) -> httpx.Response:
    chat = await house.app(limits={"requests_per_minute": 1})
    await chat.get("/v1/info")
    return await chat.get("/v1/info")


async def more_tokens_than_a_day_has(house: House) -> httpx.Response:
    chat = await house.app(limits={"tokens_per_day": 1})
    await ask(chat)
    return await chat.post("/v1/chat-messages", json=chat_body())


async def without_a_key(house: House) -> httpx.Response:
    return await house.server.client().get("/v1/info")


async def with_another_scheme(house: House) -> httpx.Response:
    return await house.server.client().get("/v1/info", headers={"Authorization": "Basic abc"})


async def one_who_is_held(house: House) -> httpx.Response:
    """Somebody is to be erased under a legal hold."""
    app = await house.server.new_app(tokens=1)
    await ask(house.server.client(app.api_key), user="ada")
    application = house.server.running.application
    person = await application.end_users.named(app.app_id, "service-api", "ada")
    await application.holds.place(person, "a case", a_context())
    eraser = house.server.client(await house.server.new_token("erase"))
    return await eraser.post("/v1/admin/users/erase", json={"app_id": str(app.app_id), "user": "ada"})


async def what_was_erased(house: House) -> httpx.Response:
    """A message of somebody who is erased."""
    app = await house.server.new_app(tokens=1)
    chat, application = house.server.client(app.api_key), house.server.running.application
    answer = await ask(chat, user="ada")
    person = await application.end_users.named(app.app_id, "service-api", "ada")
    await application.erasing.request(person, a_context())
    await application.erasing.until_done(person, 20)
    return await chat.get(f"/v1/messages/{answer['message_id']}")


async def with_an_unknown_key(house: House) -> httpx.Response:
    return await house.server.client("app-" + "x" * 24).get("/v1/info")


def with_an_app_to(change: str) -> Provoke:
    async def provoke(house: House) -> httpx.Response:
        app = await house.server.new_app()
        await getattr(house.server.running.application.apps, change)(app.app_id, a_context())
        return await house.server.client(app.api_key).get("/v1/info")

    return provoke


async def no_first_message(house: House) -> httpx.Response:
    chat = await house.app()
    params = {"conversation_id": (await ask(chat))["conversation_id"], "first_id": NOWHERE}
    return await chat.get("/v1/messages", params=params)


async def no_variable(house: House) -> httpx.Response:
    chat = await house.app()
    path = f"/v1/conversations/{(await ask(chat))['conversation_id']}/variables/{NOWHERE}"
    return await chat.put(path, json={"value": "x", "user": "ada"})


def uploaded(*files: tuple[str | None, bytes, str], path: str = "/v1/files/upload", **feature: Any) -> Provoke:
    async def provoke(house: House) -> httpx.Response:
        client = await house.app(**({"file_upload": {"enabled": True}} | feature))
        return await client.post(path, files=[("user", (None, b"ada")), *(("file", file) for file in files)])

    return provoke


def spoken(*files: tuple[str | None, bytes, str], enabled: bool = True) -> Provoke:
    return uploaded(*files, path="/v1/audio-to-text", speech_to_text={"enabled": enabled})


async def a_sound_once_the_provider_is_gone(house: House) -> httpx.Response:
    with TemporaryDirectory() as folder:
        async with live_server(Path(folder) / "data", openai_api_key="secret") as server:
            key = await server.new_key(configuration={"speech_to_text": {"enabled": True}})
        async with live_server(Path(folder) / "data") as server:
            return await server.client(key).post("/v1/audio-to-text", files={"file": SOUND})


async def a_part_without_a_name(house: House) -> httpx.Response:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\nContent-Type: image/png\r\n\r\n' + PNG
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return await (await house.app()).post("/v1/files/upload", content=body + b"\r\n--x--\r\n", headers=headers)


async def a_part_without_a_type(house: House) -> httpx.Response:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="dot.png"\r\n\r\n' + PNG + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return await (await house.app()).post("/v1/files/upload", content=body, headers=headers)


async def a_file_of_another_app(house: House) -> httpx.Response:
    owner, stranger = await house.app(file_upload={"enabled": True}), await house.app()
    sent = await owner.post("/v1/files/upload", data={"user": "ada"}, files={"file": ("dot.png", PNG, "image/png")})
    return await stranger.get(f"/v1/files/{sent.json()['id']}/preview")


async def a_file_of_no_message(house: House) -> httpx.Response:
    owner = await house.app(file_upload={"enabled": True})
    sent = await owner.post("/v1/files/upload", data={"user": "ada"}, files={"file": ("dot.png", PNG, "image/png")})
    return await owner.get(f"/v1/files/{sent.json()['id']}/preview")


async def a_key_of_another_request(house: House) -> httpx.Response:
    chat, under_key = await house.app(), {"Idempotency-Key": "once"}
    await chat.post(CHAT, json=chat_body("hello"), headers=under_key)
    return await chat.post(CHAT, json=chat_body("hi"), headers=under_key)


IMAGE, SOUND = ("dot.png", PNG, "image/png"), ("speech.wav", WAV, "audio/wav")
BAD_BODY = "Invalid JSON payload received or JSON payload is empty."
BEARER = "Authorization header must be provided and start with 'Bearer'"
NOT_COMPLETION = "Please check if your Completion app mode matches the right API route."
NO_RATING = "rating cannot be None when feedback not exists"
WRONG_TYPE = "Type mismatch: variable 'age' expects number, but got string type"
DISABLED = "The '{}' feature is disabled. Please refresh your page."

ROWS = [
    Row("invalid_param", 400, "Arg user must be provided.", without_user, params="user"),
    Row("invalid_param", 400, NO_RATING, a_rating_of_nothing_withdrawn, params="rating"),
    Row(
        "invalid_param",
        400,
        "limit must be an integer between 1 and 100",
        lambda house: got(house, "/v1/conversations", limit=0),
        params="limit",
    ),
    Row("bad_request", 400, WRONG_TYPE, a_variable_of_another_type),
    Row("bad_request", 400, BAD_BODY, no_json),
    Row(
        "not_chat_app",
        400,
        "Please check if your app mode matches the right API route.",
        a_completion_app_that_chats,
    ),
    Row("not_completion_app", 400, NOT_COMPLETION, a_visitor_of_a_chat_app_that_completes),
    Row(
        "app_unavailable",
        400,
        "App unavailable, please check your app configurations.",
        a_chat_app_that_completes,
    ),
    Row(
        "provider_not_initialize",
        403,
        "scripted failure: credentials",
        lambda house: chatted(house, "/script fail_as=credentials"),
    ),
    Row(
        "provider_quota_exceeded",
        429,
        "scripted failure: quota",
        lambda house: chatted(house, "/script fail_as=quota"),
        says_when=True,
    ),
    Row(
        "provider_quota_exceeded",
        429,
        "The app's tokens of this day are used up.",
        more_tokens_than_a_day_has,
        says_when=True,
    ),
    Row(
        "completion_request_error",
        400,
        "scripted failure: invalid",
        lambda house: chatted(house, "/script fail_as=invalid"),
    ),
    Row("app_more_like_this_disabled", 403, DISABLED.format("More like this"), more_like_this),
    Row(
        "app_suggested_questions_after_answer_disabled",
        403,
        DISABLED.format("Suggested Questions After Answer"),
        suggested,
    ),
    Row(
        "too_many_requests",
        429,
        "Too many requests. Please try again later. The current maximum concurrent requests allowed is 1.",
        one_answer_too_many,
        says_when=True,
    ),
    Row(
        "conversation_busy",
        409,
        "The conversation is busy: another of its messages has not been answered yet.",
        a_message_that_would_not_wait,
    ),
    Row(
        "idempotency_key_reused",
        422,
        "Another request was sent under this key.",
        a_key_of_another_request,
        params="Idempotency-Key",
    ),
    Row("legal_hold", 409, "A legal hold keeps this person from being erased.", one_who_is_held),
    Row("erased", 410, "The content has been erased.", what_was_erased),
    Row("rate_limit_error", 429, "Rate Limit Error", one_request_too_many, says_when=True),
    Row("unauthorized", 401, BEARER, without_a_key),
    Row("unauthorized", 401, "Authorization scheme must be 'Bearer'", with_another_scheme),
    Row("unauthorized", 401, "Access token is invalid", with_an_unknown_key),
    Row("forbidden", 403, "The app's API service has been disabled.", with_an_app_to("disable")),
    Row("forbidden", 403, "The app no longer exists.", with_an_app_to("delete")),
    Row(
        "not_found",
        404,
        "Conversation Not Exists.",
        lambda house: got(house, "/v1/messages", conversation_id=NOWHERE),
    ),
    Row("not_found", 404, "Message Not Exists.", lambda house: got(house, f"/v1/messages/{NOWHERE}")),
    Row("not_found", 404, "First Message Not Exists.", no_first_message),
    Row(
        "not_found",
        404,
        "Last Conversation Not Exists.",
        lambda house: got(house, "/v1/conversations", last_id=NOWHERE),
    ),
    Row("not_found", 404, "Conversation Variable Not Exists.", no_variable),
    Row("no_file_uploaded", 400, "Please upload your file.", uploaded()),
    Row("too_many_files", 400, "Only one file is allowed.", uploaded(IMAGE, IMAGE)),
    Row("filename_not_exists_error", 400, "The specified filename does not exist.", a_part_without_a_name),
    Row(
        "file_too_large",
        413,
        "a file of kind image may have 10485760 bytes",
        uploaded(("big.png", PNG + bytes(10 * MEGABYTE), "image/png")),
    ),
    Row("unsupported_file_type", 415, "File type not allowed.", a_part_without_a_type),
    Row("file_access_denied", 403, "Access to the requested file is denied.", a_file_of_another_app),
    Row("file_not_found", 404, "The requested file was not found.", a_file_of_no_message),
    Row("no_audio_uploaded", 400, "Please upload your audio.", spoken()),
    Row(
        "audio_too_large",
        413,
        "Audio size larger than 30 mb",
        spoken(("long.wav", WAV + bytes(30 * MEGABYTE), "audio/wav")),
    ),
    Row("unsupported_audio_type", 415, "Audio type not allowed.", spoken(("speech.txt", b"speech", "text/plain"))),
    Row(
        "provider_not_support_speech_to_text",
        400,
        "Provider not support speech to text.",
        a_sound_once_the_provider_is_gone,
    ),
    Row("speech_to_text_disabled", 400, "Speech to text is disabled.", spoken(SOUND, enabled=False)),
    Row(
        "end_user_not_found",
        404,
        "End user not found.",
        lambda house: got(house, f"/v1/end-users/{NOWHERE}"),
    ),
    Row("method_not_allowed", 405, "The method is not allowed for the requested URL.", lambda house: got(house, CHAT)),
    Row(
        "internal_server_error",
        500,
        "Internal Server Error, please contact support.",
        lambda house: chatted(house, "/script fail_as=internal"),
    ),
]
CATALOGUE = {
    "agent_not_published",
    "app_more_like_this_disabled",
    "app_suggested_questions_after_answer_disabled",
    "app_unavailable",
    "audio_too_large",
    "bad_request",
    "completion_request_error",
    "conversation_busy",
    "conversation_completed",
    "end_user_not_found",
    "erased",
    "file_access_denied",
    "file_not_found",
    "file_too_large",
    "filename_not_exists_error",
    "forbidden",
    "idempotency_key_reused",
    "internal_server_error",
    "invalid_param",
    "legal_hold",
    "method_not_allowed",
    "model_currently_not_support",
    "no_audio_uploaded",
    "no_file_uploaded",
    "not_chat_app",
    "not_completion_app",
    "not_found",
    "provider_not_initialize",
    "provider_not_support_speech_to_text",
    "provider_quota_exceeded",
    "rate_limit_error",
    "speech_to_text_disabled",
    "too_many_files",
    "too_many_requests",
    "unauthorized",
    "unsupported_audio_type",
    "unsupported_file_type",
    "workflow_version_execution_not_allowed",
}

OUT_OF_SCOPE = {
    "conversation_completed": "a conversation never ends here: it is there, or it is deleted",
    "model_currently_not_support": "says that a hosted plan has not got a model: there are no such plans",
    "agent_not_published": "of a kind of app that is not offered",
    "workflow_version_execution_not_allowed": "there are no workflows",
}
"""Codes of the catalogue that nothing here can give, and why."""


@pytest.fixture(scope="module")
async def house(new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    with new_ledger() as url:
        folder = tmp_path_factory.mktemp("errors") / "data"
        async with server_with_provider(folder, **settings_of(url)) as server:
            yield House(server)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.code}-{number}" for number, row in enumerate(ROWS)])
async def test_a_row_of_the_catalogue(house, row):
    response = await row.provoke(house)

    envelope = response.json()
    assert (response.status_code, envelope["code"], envelope["status"]) == (row.status, row.code, row.status)
    assert envelope["message"] == row.message
    assert envelope.get("params") == row.params
    assert ("retry-after" in response.headers) == row.says_when
    assert ("www-authenticate" in response.headers) == (row.status == 401)


def test_each_code_is_in_the_table_or_out_of_scope():
    assert {row.code for row in ROWS} | OUT_OF_SCOPE.keys() == CATALOGUE
    assert not {row.code for row in ROWS} & OUT_OF_SCOPE.keys()
