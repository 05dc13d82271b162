"""The acceptance list of the wire contract, section 17: one test for each line."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tests.support.chatting import ask, begin, history, stream
from tests.support.features import PNG
from tests.support.server import LiveServer, answer_of, chat_body, events_of, until

TWENTY_TOKENS = "".join(f"t{number} " for number in range(20))
NOWHERE = "00000000-0000-4000-8000-000000000000"

LONG_STREAM_SECONDS = 25
LONG_STREAM = f"/script tokens=50 interval_ms={LONG_STREAM_SECONDS * 1000 // 49 + 1}"


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(tokens=20)


@pytest.fixture
async def completion(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client("completion", tokens=3)


@pytest.fixture(scope="module", autouse=True)
async def long_stream(server: LiveServer) -> AsyncIterator["asyncio.Task[list[str]]"]:
    """The pieces of a stream of 25 s under the pings of every server; it runs while the other lines are tested."""
    client = await server.new_client()

    async def read() -> list[str]:
        body = chat_body(LONG_STREAM, response_mode="streaming")
        async with client.stream("POST", "/v1/chat-messages", json=body) as response:
            return [piece async for piece in response.aiter_text()]

    reading = asyncio.create_task(read())
    yield reading
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    envelope = response.json()
    assert envelope["status"] == response.status_code
    return response.status_code, envelope["code"], envelope["message"]


async def test_line_1_a_credential_that_is_missing_or_opens_nothing(server):
    client = server.client()

    without = await client.post("/v1/chat-messages", json=chat_body())
    unknown = await client.get("/v1/info", headers={"Authorization": "Bearer app-" + "x" * 24})

    message = "Authorization header must be provided and start with 'Bearer'"
    assert refusal(without) == (401, "unauthorized", message)
    assert refusal(unknown) == (401, "unauthorized", "Access token is invalid")
    assert {response.headers["www-authenticate"] for response in (without, unknown)} == {'Bearer realm="api"'}


async def test_line_2_a_missing_user_is_told_before_all_other_faults(chat):
    for faults in ({}, {"query": 5, "inputs": None, "response_mode": "no", "conversation_id": "no"}):
        body = chat_body() | faults
        del body["user"]

        response = await chat.post("/v1/chat-messages", json=body)

        assert refusal(response) == (400, "invalid_param", "Arg user must be provided.")


async def test_line_3_without_a_response_mode_the_answer_is_json_and_an_agent_has_to_stream(server, chat):
    answered = await chat.post("/v1/chat-messages", json=chat_body())
    refused = await (await server.new_client("agent-chat")).post("/v1/chat-messages", json=chat_body())

    assert answered.headers["content-type"] == "application/json"
    assert answered.json()["answer"] == TWENTY_TOKENS
    assert refusal(refused) == (400, "invalid_param", "Agent Chat App does not support blocking mode")


async def test_line_4_the_shape_of_a_blocking_answer(chat):
    answer = await ask(chat)

    assert answer["event"] == "message"
    assert answer["id"] == answer["message_id"]
    assert answer["mode"] == "chat"
    assert isinstance(answer["created_at"], int)
    usage = answer["metadata"]["usage"]
    texts = [f"{kind}_{part}" for kind in ("prompt", "completion") for part in ("price", "unit_price", "price_unit")]
    assert all(isinstance(usage[name], str) for name in [*texts, "total_price", "currency"])
    assert all(isinstance(usage[name], int) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    assert usage["completion_tokens"] == 20
    assert isinstance(usage["latency"], float)
    assert answer["metadata"]["annotation_reply"] is None
    assert answer["metadata"]["retriever_resources"] == []
    assert (answer["metadata"]["status"], answer["metadata"]["finish_reason"]) == ("completed", "stop")


async def test_line_6_a_stop_by_the_owner_and_by_others(chat):
    async def stop(task_id: str, user: str) -> None:
        response = await chat.post(f"/v1/chat-messages/{task_id}/stop", json={"user": user})
        assert (response.status_code, response.json()) == (200, {"result": "success"})

    event, reading = await begin(chat, "/script tokens=10000 interval_ms=5")
    await stop(event["task_id"], "ada")
    events = events_of(await asyncio.wait_for(reading, 2))
    assert events[-1]["event"] == "message_end"
    (message,) = (await history(chat, event["conversation_id"]))["data"]
    assert (message["status"], message["error"], message["answer"]) == ("normal", None, answer_of(events))
    assert message["answer"].startswith("t0 ")

    event, reading = await begin(chat, "/script tokens=20 interval_ms=10")
    await stop(event["task_id"], "bob")
    await stop(str(uuid.uuid4()), "ada")
    assert answer_of(events_of(await reading)) == TWENTY_TOKENS


async def test_line_7_a_provider_that_fails_in_the_middle_of_a_stream(chat):
    response = await chat.post(
        "/v1/chat-messages",
        json=chat_body("/script tokens=5 fail_after=3 fail_as=invalid", response_mode="streaming"),
    )

    assert response.status_code == 200
    events = events_of(response.text)
    assert [event["event"] for event in events if event["event"] != "message"] == ["error"]
    error = events[-1]
    assert (error["event"], error["code"], error["status"]) == ("error", "completion_request_error", 400)
    assert "task_id" not in error
    (message,) = (await history(chat, error["conversation_id"]))["data"]
    assert (message["status"], message["error"]) == ("error", "scripted failure: invalid")
    assert message["answer"] == answer_of(events) == "t0 t1 t2 "


async def test_line_8_history_page_by_page(server):
    chat = await server.new_client(tokens=1)
    conversation_id = (await ask(chat, "1"))["conversation_id"]
    for number in range(2, 26):
        await ask(chat, str(number), conversation_id=conversation_id)

    def queries(page: dict[str, Any]) -> list[int]:
        return [int(message["query"]) for message in page["data"]]

    first = await history(chat, conversation_id, limit=10)
    assert (queries(first), first["has_more"], first["limit"]) == (list(range(16, 26)), True, 10)
    second = await history(chat, conversation_id, limit=10, first_id=first["data"][0]["id"])
    assert (queries(second), second["has_more"]) == (list(range(6, 16)), True)
    third = await history(chat, conversation_id, limit=10, first_id=second["data"][0]["id"])
    assert (queries(third), third["has_more"]) == (list(range(1, 6)), False)
    whole = await history(chat, conversation_id, limit="", first_id="", user="")
    assert (whole["limit"], queries(whole), whole["has_more"]) == (20, list(range(6, 26)), True)
    for limit in ("0", "101"):
        response = await chat.get("/v1/messages", params={"conversation_id": conversation_id, "limit": limit})
        assert refusal(response)[:2] == (400, "invalid_param")
    stranger = await server.new_client(tokens=1)
    response = await stranger.get("/v1/messages", params={"conversation_id": conversation_id})
    assert refusal(response) == (404, "not_found", "Conversation Not Exists.")


async def test_line_9_the_table_of_ratings(chat):
    answer = await ask(chat)

    async def rate(**body: Any) -> httpx.Response:
        return await chat.post(f"/v1/messages/{answer['id']}/feedbacks", json={"user": "ada"} | body)

    async def shown() -> Any:
        return (await history(chat, answer["conversation_id"]))["data"][0]["feedback"]

    for withdrawal in ({"rating": None}, {}):
        nothing = (400, "invalid_param", "rating cannot be None when feedback not exists")
        assert refusal(await rate(**withdrawal)) == nothing
        assert (await rate(rating="like", content="because")).json() == {"result": "success"}
        assert await shown() == {"rating": "like", "content": "because"}
        assert (await rate(rating="dislike")).json() == {"result": "success"}
        assert await shown() == {"rating": "dislike"}
        assert refusal(await rate(rating="great"))[:2] == (400, "invalid_param")
        assert (await rate(**withdrawal)).json() == {"result": "success"}
        assert await shown() is None


async def test_line_10_two_users_never_see_each_other(server):
    suggesting = {"suggested_questions_after_answer": {"enabled": True}}
    chat = server.client(await server.new_key(configuration=suggesting, tokens=1))
    ada, bob = await ask(chat, "same", user="ada"), await ask(chat, "same", user="bob")
    for user, own, other in (("ada", ada, bob), ("bob", bob, ada)):
        listed = await chat.get("/v1/conversations", params={"user": user})
        assert [entry["id"] for entry in listed.json()["data"]] == [own["conversation_id"]]
        theirs, message, conversation = (
            {"conversation_id": other["conversation_id"]},
            other["id"],
            other["conversation_id"],
        )
        who = {"user": user}
        refusals = [
            await chat.get("/v1/messages", params=theirs | who),
            await chat.post("/v1/chat-messages", json=chat_body(user=user, **theirs)),
            await chat.post(f"/v1/messages/{message}/feedbacks", json={"rating": "like"} | who),
            await chat.get(f"/v1/messages/{message}/suggested", params=who),
            await chat.post(f"/v1/conversations/{conversation}/name", json={"name": "mine"} | who),
            await chat.get(f"/v1/conversations/{conversation}/variables", params=who),
            await chat.request("DELETE", f"/v1/conversations/{conversation}", json=who),
        ]
        assert [(response.status_code, response.json()["code"]) for response in refusals] == [(404, "not_found")] * 7
    for user, answer in (("ada", ada), ("bob", bob)):
        (message,) = (await history(chat, answer["conversation_id"], user=user))["data"]
        assert (message["id"], message["feedback"]) == (answer["id"], None)


async def test_line_11_the_list_of_conversations_deletion_and_names(server):
    chat = await server.new_client(tokens=1)
    one, two, three = [await ask(chat, name) for name in ("one", "two", "three")]
    await ask(chat, "again", conversation_id=one["conversation_id"])
    ids = {answer["conversation_id"]: name for answer, name in ((one, "one"), (two, "two"), (three, "three"))}

    async def paged(sort_by: str) -> list[str]:
        found: list[str] = []
        last_id, has_more = "", True
        while has_more:
            params = {"user": "ada", "limit": 1, "sort_by": sort_by, "last_id": last_id}
            page = (await chat.get("/v1/conversations", params=params)).json()
            found += [ids[entry["id"]] for entry in page["data"]]
            last_id, has_more = page["data"][-1]["id"], page["has_more"]
        return found

    for sort_by, expected in {
        "created_at": ["one", "two", "three"],
        "-created_at": ["three", "two", "one"],
        "updated_at": ["two", "three", "one"],
        "-updated_at": ["one", "three", "two"],
        "": ["one", "three", "two"],
    }.items():
        assert await paged(sort_by) == expected

    path = f"/v1/conversations/{two['conversation_id']}"
    for nameless in ({}, {"name": "  "}, {"name": None, "auto_generate": False}):
        response = await chat.post(f"{path}/name", json={"user": "ada"} | nameless)
        assert refusal(response) == (400, "invalid_param", "name is required when auto_generate is false")
    named = await chat.post(f"{path}/name", json={"user": "ada", "name": "Second", "auto_generate": False})
    assert (named.status_code, named.json()["id"], named.json()["name"]) == (200, two["conversation_id"], "Second")
    assert (await paged("-updated_at"))[0] == "two"

    deleted = await chat.request("DELETE", path, json={"user": "ada"})
    assert (deleted.status_code, deleted.content) == (204, b"")
    gone = (404, "not_found", "Conversation Not Exists.")
    assert refusal(await chat.request("DELETE", path, json={"user": "ada"})) == gone
    assert refusal(await chat.get("/v1/messages", params={"conversation_id": two["conversation_id"]})) == gone
    assert await paged("created_at") == ["one", "three"]


async def test_line_12_the_key_of_another_kind_of_app(chat, completion):
    on_chat_routes = [
        await completion.post("/v1/chat-messages", json=chat_body()),
        await completion.post(f"/v1/chat-messages/{NOWHERE}/stop", json={"user": "ada"}),
        await completion.get("/v1/messages", params={"conversation_id": NOWHERE}),
        await completion.get("/v1/conversations"),
        await completion.post(f"/v1/conversations/{NOWHERE}/name", json={"name": "x", "user": "ada"}),
        await completion.request("DELETE", f"/v1/conversations/{NOWHERE}", json={"user": "ada"}),
    ]
    on_completion_routes = [
        await chat.post("/v1/completion-messages", json=chat_body()),
        await chat.post(f"/v1/completion-messages/{NOWHERE}/stop", json={"user": "ada"}),
    ]

    message = "Please check if your app mode matches the right API route."
    assert [refusal(response) for response in on_chat_routes] == [(400, "not_chat_app", message)] * 6
    message = "App unavailable, please check your app configurations."
    assert [refusal(response) for response in on_completion_routes] == [(400, "app_unavailable", message)] * 2


async def test_line_13_more_like_this(server):
    more = {"more_like_this": {"enabled": True}, "generator": "scripted", "settings": {"tokens": 3}}
    app = await server.new_app("completion", configuration=more)
    service, visitor = server.client(app.api_key), await server.new_visitor(app.site_code)
    off = await server.new_client("completion", tokens=3)

    for client, prefix in ((service, "/v1"), (visitor, "/api")):
        sent = {"inputs": {}, "query": "hello"} | ({"user": "ada"} if prefix == "/v1" else {})
        original = (await client.post(f"{prefix}/completion-messages", json=sent)).json()
        path = f"{prefix}/messages/{original['id']}/more-like-this"
        assert refusal(await client.get(path))[:2] == (400, "invalid_param")
        alike = await client.get(path, params={"response_mode": "blocking"})
        assert (alike.status_code, alike.json()["answer"]) == (200, original["answer"])
        assert alike.json()["message_id"] != original["message_id"]

    original = (await off.post("/v1/completion-messages", json=chat_body())).json()
    refused = await off.get(f"/v1/messages/{original['id']}/more-like-this", params={"response_mode": "blocking"})
    assert refusal(refused)[:2] == (403, "app_more_like_this_disabled")


async def test_line_14_suggested_questions(server):
    def app_that(**script: Any) -> dict[str, Any]:
        settings = {"tokens": 3} | script
        return {"suggested_questions_after_answer": {"enabled": True}, "generator": "scripted", "settings": settings}

    asked = ["Why?", "How?", "When?"]
    app = await server.new_app(configuration=app_that(suggestions=json.dumps(asked)))
    service, visitor = server.client(app.api_key), await server.new_visitor(app.site_code)
    message = (await ask(service))["id"]
    suggested = await service.get(f"/v1/messages/{message}/suggested", params={"user": "ada"})
    assert suggested.json() == {"result": "success", "data": asked}
    message = (await visitor.post("/api/chat-messages", json={"inputs": {}, "query": "hello"})).json()["id"]
    suggested = await visitor.get(f"/api/messages/{message}/suggested-questions")
    assert suggested.json() == {"data": asked}

    failing = server.client(await server.new_key(configuration=app_that(text_fail_as="invalid")))
    message = (await ask(failing))["id"]
    suggested = await failing.get(f"/v1/messages/{message}/suggested", params={"user": "ada"})
    assert (suggested.status_code, suggested.json()) == (200, {"result": "success", "data": []})


async def test_line_15_a_client_that_drops_does_not_end_its_message(each_server):
    chat = await each_server.new_client()
    event, reading = await begin(chat, "/script tokens=20 interval_ms=10")

    reading.cancel()

    async def is_whole() -> bool:
        (message,) = (await history(chat, event["conversation_id"]))["data"]
        return bool(message["answer"] == TWENTY_TOKENS)

    await until(is_whole)


async def test_line_16_uploads(server):
    uploads = {"file_upload": {"enabled": True}, "generator": "scripted", "settings": {"tokens": 1}}
    chat = server.client(await server.new_key(configuration=uploads))
    file = ("file", ("dot.png", PNG, "image/png"))

    uploaded = await chat.post("/v1/files/upload", data={"user": "ada"}, files=[file])
    assert uploaded.status_code == 201, uploaded.text
    assert (uploaded.json()["name"], uploaded.json()["size"], uploaded.json()["extension"]) == (
        "dot.png",
        len(PNG),
        "png",
    )
    given = {"type": "image", "transfer_method": "local_file", "upload_file_id": uploaded.json()["id"]}
    answer = await ask(chat, files=[given])
    (message,) = (await history(chat, answer["conversation_id"]))["data"]
    assert [(shown["type"], shown["filename"]) for shown in message["message_files"]] == [("image", "dot.png")]
    foreign = await chat.post("/v1/chat-messages", json=chat_body(user="bob", files=[given]))
    assert refusal(foreign)[:2] == (400, "invalid_param")
    two = await chat.post("/v1/files/upload", data={"user": "ada"}, files=[file, file])
    assert refusal(two) == (400, "too_many_files", "Only one file is allowed.")


async def test_line_17_the_calls_of_the_brief_with_the_key_alone(chat):
    answer = await ask(chat)

    page = await chat.get(f"/v1/messages?conversation_id={answer['conversation_id']}&limit=10")
    rated = await chat.post(f"/v1/messages/{answer['id']}/feedbacks", json={"rating": "like", "content": "well said"})

    assert (page.status_code, [message["id"] for message in page.json()["data"]]) == (200, [answer["id"]])
    assert (rated.status_code, rated.json()) == (200, {"result": "success"})
    (message,) = (await history(chat, answer["conversation_id"], user="ada"))["data"]
    assert message["feedback"] == {"rating": "like", "content": "well said"}


async def test_line_18_asynchronous_sending(chat):
    response = await chat.post("/v1/chat-messages", json=chat_body(response_mode="async"))

    accepted = response.json()
    assert response.status_code == 202
    assert set(accepted) == {"task_id", "message_id", "conversation_id", "status"}
    assert response.headers["location"] == f"/v1/tasks/{accepted['task_id']}"

    async def is_completed() -> bool:
        task = (await chat.get(response.headers["location"])).json()
        return bool(task["status"] == "completed")

    await until(is_completed)
    (message,) = (await history(chat, accepted["conversation_id"]))["data"]
    assert (message["id"], message["answer"]) == (accepted["message_id"], TWENTY_TOKENS)


# Line 5 stands last: it waits for the stream that runs beside all the others.


def blocks_of(pieces: list[str]) -> Iterator[str]:
    """As many third-party readers read a stream: by blank lines."""
    rest = ""
    for piece in pieces:
        *blocks, rest = (rest + piece).split("\n\n")
        yield from blocks
    assert rest == ""


def lines_of(pieces: list[str]) -> Iterator[str]:
    """As the clients on Node.js and the web read it: by lines."""
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        yield from lines
    assert rest == ""


async def test_line_5_a_stream_is_the_stored_answer_and_pings_every_ten_seconds(server, chat, long_stream):
    pieces = await asyncio.wait_for(long_stream, LONG_STREAM_SECONDS + 20)

    by_line = [json.loads(line[6:]) for line in lines_of(pieces) if line.startswith("data: ")]
    blocks = list(blocks_of(pieces))
    by_block = [json.loads(block[6:]) for block in blocks if block.startswith("data: ")]
    assert [block for block in blocks if not block.startswith("data: ")] == ["event: ping"] * 2
    assert by_block == by_line
    assert by_line[-1]["event"] == "message_end"
    assert answer_of(by_line) == "".join(f"t{number} " for number in range(50))

    text = await stream(chat)
    events = events_of(text)
    (stored,) = (await history(chat, events[0]["conversation_id"]))["data"]
    assert answer_of(events) == stored["answer"] == TWENTY_TOKENS
    assert events[-1]["event"] == "message_end"
    failed = events_of(await stream(chat, "/script tokens=5 fail_after=3 fail_as=invalid"))
    assert all(("task_id" in event) == (event["event"] != "error") for event in by_line + events + failed)
