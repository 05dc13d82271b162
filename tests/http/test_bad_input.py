"""Every refusal of the contract's catalogue that these routes can give, over a socket, and nothing written by any."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from chatledger.adapters.http.settings import HttpSettings
from chatledger.application.context import SYSTEM, Context
from chatledger.domain.app import App
from chatledger.domain.configuration import AppConfiguration
from tests.support.server import LiveServer, chat_body, live_server

NOWHERE = "00000000-0000-4000-8000-000000000000"
OTHER_SPELLINGS = (f"{{{NOWHERE}}}", f"urn:uuid:{NOWHERE}", NOWHERE.replace("-", ""), NOWHERE.replace("0", "\u0660"))
CHAT, COMPLETION = "/v1/chat-messages", "/v1/completion-messages"


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(tokens=2)


async def assert_refused(
    server: LiveServer,
    response: httpx.Response,
    status: int,
    code: str,
    *,
    params: str | None = None,
    message: str = "",
) -> None:
    body = response.json()
    assert (response.status_code, body["code"], body["status"]) == (status, code, status), response.text
    assert response.headers["content-type"] == "application/json"
    assert uuid.UUID(response.headers["x-request-id"])
    if params:
        assert body["params"] == params
    if message:
        assert body["message"] == message
    assert "Traceback" not in response.text


@pytest.fixture(autouse=True)
async def nothing_is_written(server: LiveServer, chat: httpx.AsyncClient) -> AsyncIterator[None]:
    before = await server.head()
    yield
    assert await server.head() == before


async def post(client: httpx.AsyncClient, content: bytes, path: str = CHAT, **headers: str) -> httpx.Response:
    return await client.post(path, content=content, headers={"Content-Type": "application/json"} | headers)


# The body as a whole


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"   ", id="blank"),
        pytest.param(b"{", id="cut short"),
        pytest.param(b'{"user": "ada"} trailing', id="trailing"),
        pytest.param(b"query=hello", id="a form"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"text"', id="a string"),
        pytest.param(b"null", id="null"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(b'{"user": "ada", "query": "\xff"}', id="no UTF-8 in a string"),
        pytest.param(b'{"user": "ada", "query": NaN}', id="NaN"),
        pytest.param(b'{"user": "ada", "query": 1e999}', id="infinite"),
        pytest.param(b'{"user": 1' + b"0" * 5_000 + b"}", id="a number of 5,000 digits"),
        pytest.param(rb'{"user": "ada", "inputs": {}, "query": "\ud800"}', id="a lone high surrogate"),
        pytest.param(rb'{"user": "ada", "inputs": {}, "query": "a\udc00b"}', id="a lone low surrogate"),
        pytest.param(rb'{"user": "\ud800", "inputs": {}, "query": "hello"}', id="a lone surrogate in the user"),
        pytest.param(rb'{"user": "ada", "inputs": {"\ud800": 1}, "query": "hello"}', id="a lone surrogate in a key"),
    ],
)
async def test_no_json_object(server, chat, content):
    for path in (CHAT, COMPLETION, f"{CHAT}/{NOWHERE}/stop"):
        response = await post(chat, content, path)
        message = "Invalid JSON payload received or JSON payload is empty."
        await assert_refused(server, response, 400, "bad_request", message=message)


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"]
)
async def test_another_content_type(server, chat, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    response = await chat.post(CHAT, content=json.dumps(chat_body()).encode(), headers=headers)

    await assert_refused(server, response, 415, "unsupported_media_type")


@pytest.mark.parametrize("depth", [33, 1_000, 100_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
async def test_a_deeply_nested_body(server, chat, depth, brackets):
    begin, end = brackets
    nested = begin * (depth - 1) + b"1" + end * (depth - 1)

    response = await post(chat, b'{"user": "ada", "query": "hello", "inputs": ' + nested + b"}")

    await assert_refused(server, response, 400, "invalid_param")
    assert "32 levels" in response.json()["message"]


async def test_wide_bodies_are_not_deep(server, chat):
    """The bound is on nesting, not on the number of brackets; the refusal here is about something else."""
    response = await post(chat, b'{"user": "ada", "query": "hello", "inputs": [' + b"[]," * 100 + b"[]]}")

    await assert_refused(server, response, 400, "invalid_param", params="inputs")


async def test_a_body_that_is_too_large(server, chat):
    response = await post(chat, json.dumps(chat_body("x" * 1024 * 1024)).encode())

    await assert_refused(server, response, 413, "request_entity_too_large")


async def test_a_chunked_body_that_is_too_large(server, chat):
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"user": "ada", "query": "'
        for _ in range(40):
            yield b"x" * 64 * 1024

    response = await chat.post(CHAT, content=chunks(), headers={"Content-Type": "application/json"})

    await assert_refused(server, response, 413, "request_entity_too_large")


@pytest.mark.parametrize("kind", ["granian", "uvicorn"])
async def test_a_chunked_body_without_end_is_not_read_to_the_end(tmp_path, kind):
    """The client sends for ever; the refusal comes all the same."""
    async with live_server(tmp_path / "data", kind=kind, http=HttpSettings(max_body_bytes=100_000)) as live:
        key = await live.new_key()
        host, port = live.base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        writer.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")

        async def send_for_ever() -> None:
            while True:
                writer.write(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
                await writer.drain()

        sending = asyncio.create_task(send_for_ever())
        try:
            status = await asyncio.wait_for(reader.readline(), 10)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            writer.close()
        assert b" 413 " in status


async def test_a_question_that_is_too_long(server, chat):
    await assert_refused(
        server, await chat.post(CHAT, json=chat_body("x" * 100_001)), 413, "request_entity_too_large", params="query"
    )


async def test_a_body_cut_off_by_the_client_writes_nothing(server, chat):
    host, port = server.base_url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(chat_body()).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: {chat.headers['authorization']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body) + 10}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await chat.get("/v1/info")


# Fields of the send routes

FIELDS: list[tuple[str, Any, str]] = [
    ("inputs", None, "inputs"),
    ("inputs", [], "inputs"),
    ("inputs", "text", "inputs"),
    ("query", 5, "query"),
    ("query", ["hello"], "query"),
    ("response_mode", "fast", "response_mode"),
    ("response_mode", "", "response_mode"),
    ("response_mode", 1, "response_mode"),
    ("response_mode", ["streaming"], "response_mode"),
    ("files", "a file", "files"),
    ("files", {}, "files"),
    ("on_busy", "later", "on_busy"),
    ("on_busy", "", "on_busy"),
    ("on_busy", ["queue"], "on_busy"),
    ("on_disconnect", "halt", "on_disconnect"),
    ("on_disconnect", "", "on_disconnect"),
    ("on_disconnect", True, "on_disconnect"),
    ("user", "u" * 256, "user"),
]
CHAT_FIELDS: list[tuple[str, Any, str]] = [
    ("conversation_id", "conv_123", "conversation_id"),
    ("conversation_id", 5, "conversation_id"),
    ("conversation_id", [NOWHERE], "conversation_id"),
    ("auto_generate_name", "maybe", "auto_generate_name"),
    ("auto_generate_name", 2, "auto_generate_name"),
    *(("conversation_id", spelled, "conversation_id") for spelled in OTHER_SPELLINGS),
]


@pytest.mark.parametrize(("field", "value", "params"), FIELDS + CHAT_FIELDS)
async def test_a_field_of_a_chat_message(server, chat, field, value, params):
    await assert_refused(
        server, await chat.post(CHAT, json=chat_body() | {field: value}), 400, "invalid_param", params=params
    )


class TestCompletion:
    @pytest.fixture
    async def chat(self, server: LiveServer) -> httpx.AsyncClient:
        return await server.new_client("completion", tokens=2)

    @pytest.mark.parametrize(("field", "value", "params"), FIELDS)
    async def test_a_field_of_a_completion(self, server, chat, field, value, params):
        response = await chat.post(COMPLETION, json=chat_body() | {field: value})
        await assert_refused(server, response, 400, "invalid_param", params=params)

    async def test_a_key_of_idempotency(self, server, chat):
        await assert_no_key(server, chat, COMPLETION)

    @pytest.mark.parametrize("on_busy", ["allow", "queue"])
    async def test_turns(self, server, chat, on_busy):
        response = await chat.post(COMPLETION, json=chat_body(on_busy=on_busy))
        message = "on_busy is not for completions: none of them meets another"
        await assert_refused(server, response, 400, "invalid_param", params="on_busy", message=message)

    async def test_chat_routes(self, server, chat):
        message = "Please check if your app mode matches the right API route."
        await assert_refused(server, await chat.post(CHAT, json=chat_body()), 400, "not_chat_app", message=message)


async def assert_no_key(server: LiveServer, chat: httpx.AsyncClient, path: str) -> None:
    message = "Idempotency-Key must be 1 to 255 visible ASCII characters"
    for key in (b"", b"two words", "k\xe9y".encode("latin-1"), b"k" * 256):
        response = await chat.post(path, json=chat_body(), headers={"Idempotency-Key": key})
        await assert_refused(server, response, 400, "invalid_param", params="Idempotency-Key", message=message)


async def test_a_key_of_idempotency(server, chat):
    await assert_no_key(server, chat, CHAT)


@pytest.mark.parametrize("user", ["\0", "\0\0", 0, "", None])
async def test_a_user_of_whom_nothing_is_left(server, chat, user):
    for path in (CHAT, f"{CHAT}/{NOWHERE}/stop"):
        response = await chat.post(path, json=chat_body(user=user))
        message = "Arg user must be provided."
        await assert_refused(server, response, 400, "invalid_param", params="user", message=message)


async def test_a_question_of_nothing_but_nul(server, chat):
    for query in ("", "\0", "\0\0\0"):
        response = await chat.post(CHAT, json=chat_body(query))
        await assert_refused(server, response, 400, "invalid_param", params="query", message="query is required")


async def test_the_first_fault_is_the_one_told(server, chat):
    faulty = {"inputs": 5, "query": 5, "response_mode": "no", "conversation_id": "no"}

    await assert_refused(server, await chat.post(COMPLETION, json=faulty), 400, "invalid_param", params="user")
    named = faulty | {"user": "ada"}
    await assert_refused(server, await chat.post(COMPLETION, json=named), 400, "app_unavailable")
    await assert_refused(server, await chat.post(CHAT, json=named), 400, "invalid_param", params="inputs")
    response = await chat.post(CHAT, content=b"{", headers={"Authorization": "Bearer no", "Content-Type": "text/plain"})
    await assert_refused(server, response, 401, "unauthorized")


class TestDeclaredInputs:
    @pytest.fixture
    async def chat(self, server: LiveServer) -> httpx.AsyncClient:
        form = [
            {"variable": "name", "required": True, "max_length": 5},
            {"variable": "age", "type": "number"},
            {"variable": "city", "type": "select", "options": ["Oslo", "Lima"]},
            {"variable": "member", "type": "checkbox"},
        ]
        return server.client(await server.new_key(configuration={"user_input_form": form}))

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ({}, "name is required in input form"),
            ({"name": None}, "name is required in input form"),
            ({"name": 5}, "(type 'text-input') name in input form must be a string"),
            ({"name": "too long"}, "name in input form must be less than 5 characters"),
            ({"name": "Ada", "age": "old"}, "age in input form must be a valid number"),
            ({"name": "Ada", "city": "Rome"}, "city in input form must be one of the following: ['Oslo', 'Lima']"),
            ({"name": "Ada", "member": "maybe"}, None),
        ],
    )
    async def test_a_value_that_does_not_fit(self, server, chat, inputs, message):
        response = await chat.post(CHAT, json=chat_body(inputs=inputs))
        await assert_refused(server, response, 400, "invalid_param", params="inputs", message=message or "")


async def test_a_script_that_does_not_exist(server, chat):
    await assert_refused(
        server, await chat.post(CHAT, json=chat_body("/script tokens=many")), 400, "invalid_param", params="query"
    )


async def test_an_unknown_conversation(server, chat):
    response = await chat.post(CHAT, json=chat_body(conversation_id=NOWHERE))
    await assert_refused(server, response, 404, "not_found", message="Conversation Not Exists.")


# The other routes


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/v1/messages", "conversation_id"),
        ("/v1/messages?conversation_id=conv_123", "conversation_id"),
        (f"/v1/messages?conversation_id={NOWHERE}&first_id=x", "first_id"),
        (f"/v1/messages?conversation_id={NOWHERE}&limit=0", "limit"),
        ("/v1/conversations?last_id=x", "last_id"),
        ("/v1/conversations?limit=101", "limit"),
        ("/v1/conversations?sort_by=name", "sort_by"),
        *((f"/v1/conversations?last_id={spelled}", "last_id") for spelled in OTHER_SPELLINGS),
        (f"/v1/messages?conversation_id={NOWHERE}&as_of=yesterday", "as_of"),
        (f"/v1/messages/{NOWHERE}?as_of=-1", "as_of"),
        ("/v1/conversations?as_of=2026-01-01", "as_of"),
        ("/v1/conversations?as_of=2026-01-01T00:00:00", "as_of"),
        (f"/v1/conversations?as_of={'9' * 5000}", "as_of"),
        ("/v1/app/feedbacks?as_of=%EF%BC%95", "as_of"),
        (f"/v1/app/feedbacks?as_of={10**30}", "as_of"),
        (f"/v1/messages?conversation_id={NOWHERE}&user={'u' * 256}", "user"),
        (f"/v1/conversations?user={'u' * 256}", "user"),
        (f"/v1/messages/{NOWHERE}?user={'u' * 256}", "user"),
        (f"/v1/tasks/{NOWHERE}?user={'u' * 256}", "user"),
        ("/v1/app/feedbacks?page=0", "page"),
        ("/v1/app/feedbacks?limit=102", "limit"),
        ("/v1/app/feedbacks?limit=%EF%BC%91", "limit"),
        ("/v1/app/feedbacks?format=xml", "format"),
        ("/v1/apps/annotations?page=0", "page"),
        (f"/v1/conversations/{NOWHERE}/variables?limit=0", "limit"),
        (f"/v1/conversations/{NOWHERE}/variables?last_id=x", "last_id"),
        (f"/v1/conversations/{NOWHERE}/variables?variable_name=a%20b", "variable_name"),
        (f"/v1/messages/{NOWHERE}/suggested?user={'u' * 256}", "user"),
        ("/v1/conversations?user=%FF", "user"),
        ("/v1/conversations?user=%C3", "user"),
        ("/v1/apps/annotations?keyword=%FF", "keyword"),
        (f"/v1/messages/{NOWHERE}/events?cursor=next", "cursor"),
        (f"/v1/messages/{NOWHERE}/events?limit=-1", "limit"),
        (f"/v1/messages/{NOWHERE}/stream?after=-1", "after"),
        (f"/v1/messages/{NOWHERE}/stream?after={'9' * 100}", "after"),
    ],
)
async def test_a_value_in_the_query_string(server, chat, path, params):
    await assert_refused(server, await chat.get(path), 400, "invalid_param", params=params)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"/v1/messages?conversation_id={NOWHERE}", "Conversation Not Exists."),
        (f"/v1/conversations?last_id={NOWHERE}", "Last Conversation Not Exists."),
        (f"/v1/messages/{NOWHERE}", "Message Not Exists."),
        (f"/v1/messages/{NOWHERE}/events", "Message Not Exists."),
        (f"/v1/messages/{NOWHERE}/stream", "Message Not Exists."),
        (f"/v1/tasks/{NOWHERE}", "Task Not Exists."),
        (f"/v1/conversations/{NOWHERE}/variables", "Conversation Not Exists."),
        ("/v1/conversations/no-uuid/variables", ""),
        ("/v1/end-users/no-uuid", ""),
        ("/v1/files/no-uuid/preview", ""),
        ("/v1/messages/no-uuid/suggested", ""),
        ("/v1/messages/no-uuid", ""),
        ("/v1/messages/no-uuid/stream", ""),
        ("/v1/tasks/no-uuid", ""),
        *((f"/v1/messages/{spelled}{rest}", "") for spelled in OTHER_SPELLINGS for rest in ("", "/events", "/stream")),
        *((f"/v1/tasks/{spelled}", "") for spelled in OTHER_SPELLINGS),
        ("/v1/nothing-here", ""),
        ("/nothing", ""),
        ("/assets/pages.py", ""),
        ("/assets/..%2Fpages.py", ""),
        ("/v1/%00", ""),
    ],
)
async def test_what_does_not_exist(server, chat, path, message):
    await assert_refused(server, await chat.get(path), 404, "not_found", message=message)


@pytest.mark.parametrize(
    ("method", "path", "body", "params"),
    [
        ("POST", f"/v1/conversations/{NOWHERE}/name", {"name": 5}, "name"),
        ("POST", f"/v1/conversations/{NOWHERE}/name", {"auto_generate": "maybe"}, "auto_generate"),
        ("PUT", f"/v1/conversations/{NOWHERE}/variables/{NOWHERE}", {}, "value"),
        ("PATCH", f"/v1/conversations/{NOWHERE}/variables/{NOWHERE}", {"user": "ada"}, "value"),
        ("DELETE", f"/v1/conversations/{NOWHERE}", {"user": "u" * 256}, "user"),
        ("POST", f"/v1/messages/{NOWHERE}/regenerate", {"response_mode": "fast"}, "response_mode"),
        ("POST", f"/v1/messages/{NOWHERE}/regenerate", {"on_busy": "later"}, "on_busy"),
        ("POST", "/v1/apps/annotations", {"question": 5, "answer": "yes"}, "question"),
        ("PUT", f"/v1/apps/annotations/{NOWHERE}", {"question": "why", "answer": []}, "answer"),
        ("POST", "/v1/text-to-audio", {"message_id": "no-uuid"}, "message_id"),
    ],
)
async def test_a_field_of_another_route(server, chat, method, path, body, params):
    await assert_refused(server, await chat.request(method, path, json=body), 400, "invalid_param", params=params)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "BREW"])
async def test_another_method(server, chat, method):
    response = await chat.request(method, "/v1/messages")

    await assert_refused(server, response, 405, "method_not_allowed")
    assert "GET" in response.headers["allow"]


async def test_a_head_request_gets_no_body(server, chat):
    response = await chat.head(CHAT)

    assert (response.status_code, response.content) == (405, b"")


async def test_a_rating_of_nothing(server, chat):
    missing = await chat.post(f"/v1/messages/{NOWHERE}/feedbacks", json={"rating": "like"})
    await assert_refused(server, missing, 404, "not_found", message="Message Not Exists.")
    for spelled in ("no-uuid", *OTHER_SPELLINGS):
        malformed = await chat.post(f"/v1/messages/{spelled}/feedbacks", json={"rating": "like"})
        await assert_refused(server, malformed, 404, "not_found")


# What is taken in all the same, and what a failing provider means for a caller that waits.


class TestAnswered:
    @pytest.fixture(autouse=True)
    async def nothing_is_written(self) -> None:
        """These calls do write: a message, and how it ended."""

    @pytest.mark.parametrize(
        ("kind", "status", "code"),
        [
            ("credentials", 403, "provider_not_initialize"),
            ("quota", 429, "provider_quota_exceeded"),
            ("invalid", 400, "completion_request_error"),
            ("internal", 500, "internal_server_error"),
        ],
    )
    async def test_blocking(self, server, chat, kind, status, code):
        response = await chat.post(CHAT, json=chat_body(f"/script fail_as={kind}"))

        await assert_refused(server, response, status, code)
        assert ("retry-after" in response.headers) == (status == 429)

    async def test_nul_is_dropped_from_questions_and_inputs(self, server):
        form = [{"variable": "name"}]
        chat = server.client(await server.new_key(configuration={"user_input_form": form}, tokens=1))

        answer = await chat.post(CHAT, json=chat_body("he\0llo\0", inputs={"name": "A\0da"}))

        page = await chat.get("/v1/messages", params={"conversation_id": answer.json()["conversation_id"]})
        (message,) = page.json()["data"]
        assert (message["query"], message["inputs"]) == ("hello", {"name": "Ada"})

    async def test_nul_is_dropped_from_users_and_ratings(self, chat):
        answer = (await chat.post(CHAT, json=chat_body(user="a\0da"))).json()
        rating = {"rating": "like", "content": "we\0ll", "user": "\0ada"}
        assert (await chat.post(f"/v1/messages/{answer['id']}/feedbacks", json=rating)).status_code == 200

        params = {"conversation_id": answer["conversation_id"], "user": "ada\0"}
        (message,) = (await chat.get("/v1/messages", params=params)).json()["data"]
        assert message["feedback"] == {"rating": "like", "content": "well"}

    async def test_the_longest_user_and_the_longest_rating(self, server, chat):
        user = "𝄞" * 255
        answer = (await chat.post(CHAT, json=chat_body(user=user))).json()
        route = f"/v1/messages/{answer['id']}/feedbacks"

        assert (await chat.post(route, json={"rating": "like", "content": "x" * 100_000})).status_code == 200
        response = await chat.post(route, json={"rating": "like", "content": "x" * 100_001})
        await assert_refused(server, response, 413, "request_entity_too_large", params="content")
        response = await chat.post(route, json={"rating": "like", "user": user + "𝄞"})
        await assert_refused(server, response, 400, "invalid_param", params="user")

    @pytest.mark.parametrize("given", [True, 1, 1.0, "true", "1", "yes", "on", False, 0, "False", "0", "no", "off"])
    async def test_a_name_is_made_or_not_in_any_spelling(self, chat, given):
        query = "a question of more than twenty characters"
        await chat.post(CHAT, json=chat_body(query, auto_generate_name=given))

        (conversation,) = (await chat.get("/v1/conversations?user=ada")).json()["data"]
        is_on = given in (1, "true", "1", "yes", "on")
        assert conversation["name"] == (query if is_on else "a question of more t…")

    async def test_ids_in_capitals_are_ids(self, chat):
        answer = (await chat.post(CHAT, json=chat_body())).json()
        message_id, conversation_id = answer["id"].upper(), answer["conversation_id"].upper()

        assert (await chat.get(f"/v1/messages/{message_id}")).json()["id"] == answer["id"]
        page = await chat.get("/v1/messages", params={"conversation_id": conversation_id})
        assert [message["id"] for message in page.json()["data"]] == [answer["id"]]
        assert (await chat.post(CHAT, json=chat_body(conversation_id=conversation_id))).status_code == 200

    @pytest.mark.parametrize(
        ("inputs", "query", "kept"),
        [
            ({}, "from above", "from above"),
            ({"query": None}, "from above", "from above"),
            ({"query": "own"}, "from above", "own"),
            ({"query": ""}, "from above", ""),
        ],
    )
    async def test_a_completions_query_fills_the_variable_of_its_name(self, server, inputs, query, kept):
        form = [{"variable": "query", "required": True}]
        completion = server.client(
            await server.new_key("completion", configuration={"user_input_form": form}, tokens=1)
        )

        answer = (await completion.post(COMPLETION, json=chat_body(query, inputs=inputs))).json()

        message = (await completion.get(f"/v1/messages/{answer['id']}")).json()
        assert (message["query"], message["inputs"]) == (query, {"query": kept})

    async def test_a_completion_without_a_query_lacks_the_variable_of_its_name(self, server):
        form = [{"variable": "query", "required": True}]
        completion = server.client(
            await server.new_key("completion", configuration={"user_input_form": form}, tokens=1)
        )

        response = await completion.post(COMPLETION, json=chat_body(""))

        message = "query is required in input form"
        await assert_refused(server, response, 400, "invalid_param", params="inputs", message=message)

    async def test_an_app_whose_generator_this_server_does_not_have(self, server):
        chat = server.client(await server.new_key(tokens=1))
        app = await server.running.application.credentials.app(chat.headers["authorization"].removeprefix("Bearer "))
        elsewhere = AppConfiguration(generator="elsewhere")
        context = Context(actor=SYSTEM, correlation_id=uuid.uuid4())
        await server.running.ledger.decide(
            App, app.app_id, lambda staged: staged.aggregate.configure(elsewhere), context
        )

        for mode in ("blocking", "streaming", "async"):
            response = await chat.post(CHAT, json=chat_body(response_mode=mode))
            message = "App unavailable, please check your app configurations."
            await assert_refused(server, response, 400, "app_unavailable", message=message)

    @pytest.mark.parametrize("text", ["\U0001f600", "línea\u2028separada\u0085aquí", 'quo"te\\', "\x1f\x7f", "e\u0301"])
    async def test_any_other_text_goes_there_and_back(self, server, chat, text):
        answer = await chat.post(CHAT, json=chat_body(text, user=text))

        params = {"conversation_id": answer.json()["conversation_id"], "user": text}
        (message,) = (await chat.get("/v1/messages", params=params)).json()["data"]
        assert message["query"] == text

    async def test_what_sdks_send_for_nothing_is_nothing(self, chat):
        nothing = {"files": None, "conversation_id": "", "response_mode": None, "auto_generate_name": None, "other": 1}

        for more in (nothing, {"conversation_id": None, "files": []}, {"files": [{"type": "image"}], "trace_id": "!"}):
            assert (await chat.post(CHAT, json=chat_body(**more))).status_code == 200

    async def test_a_rating_with_wrong_values_leaves_the_message_alone(self, server, chat):
        answer = (await chat.post(CHAT, json=chat_body())).json()
        before = await server.head()
        route = f"/v1/messages/{answer['id']}/feedbacks"

        for body, params in (
            ({"rating": "great"}, "rating"),
            ({"rating": "like", "content": 5}, "content"),
            ({}, "rating"),
        ):
            await assert_refused(server, await chat.post(route, json=body), 400, "invalid_param", params=params)
        await assert_refused(server, await chat.post(route), 400, "invalid_param", params="rating")
        assert await server.head() == before
