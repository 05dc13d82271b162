"""The acceptance list of the wire contract (section 17), a test for each line, as far as these routes go."""

import asyncio
import json
import uuid
from typing import Any

import httpx
import pytest

from chatledger.adapters.http.settings import HttpSettings
from tests.support.server import LiveServer, answer_of, chat_body, events_of, frames_of, live_server, until

TWENTY_TOKENS = "".join(f"t{number} " for number in range(20))


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(tokens=20)


async def ask(client: httpx.AsyncClient, query: str = "hello", **more: Any) -> dict[str, Any]:
    response = await client.post("/v1/chat-messages", json=chat_body(query, **more))
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def history(client: httpx.AsyncClient, conversation_id: str, **more: Any) -> dict[str, Any]:
    response = await client.get("/v1/messages", params={"conversation_id": conversation_id} | more)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


async def stream(client: httpx.AsyncClient, query: str = "hello", **more: Any) -> str:
    response = await client.post("/v1/chat-messages", json=chat_body(query, response_mode="streaming", **more))
    assert response.status_code == 200, response.text
    return response.text


# Line 1


async def test_line_1_no_header(server):
    response = await server.client().post("/v1/chat-messages", json=chat_body())

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="api"'
    assert response.json() == {
        "code": "unauthorized",
        "message": "Authorization header must be provided and start with 'Bearer'",
        "status": 401,
    }


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("app-key", "Authorization header must be provided and start with 'Bearer'"),
        ("Basic abc", "Authorization scheme must be 'Bearer'"),
        ("Bearer app-" + "x" * 24, "Access token is invalid"),
        ("bearer dataset-" + "x" * 24, "Access token is invalid"),
        ("Bearer op-" + "x" * 24, "Access token is invalid"),
    ],
)
async def test_line_1_a_header_that_opens_nothing(server, header, message):
    response = await server.client().get("/v1/info", headers={"Authorization": header})

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="api"'
    assert (response.json()["code"], response.json()["message"]) == ("unauthorized", message)


# Line 2


@pytest.mark.parametrize("faults", [{}, {"query": 5, "inputs": None, "response_mode": "no"}, {"user": ""}, {"user": 0}])
async def test_line_2_a_missing_user_is_told_before_all_other_faults(chat, faults):
    body = chat_body() | {"user": None} | faults

    for route in ("/v1/chat-messages", "/v1/completion-messages"):
        response = await chat.post(route, json=body)
        assert response.status_code == 400
        assert response.json()["code"] == "invalid_param"
        assert response.json()["message"] == "Arg user must be provided."


async def test_line_2_a_user_that_is_no_string_is_made_one(chat):
    answer = await ask(chat, user=123)

    assert (await history(chat, answer["conversation_id"], user="123"))["data"]


# Line 3


@pytest.mark.parametrize("more", [{}, {"response_mode": None}, {"response_mode": "blocking"}])
async def test_line_3_without_a_response_mode_the_answer_is_json(chat, more):
    response = await chat.post("/v1/chat-messages", json=chat_body(**more))

    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json()["answer"] == TWENTY_TOKENS


async def test_line_3_an_agent_app_does_not_block(server):
    agent = await server.new_client("agent-chat", tokens=2)

    response = await agent.post("/v1/chat-messages", json=chat_body())

    assert (response.status_code, response.json()["code"]) == (400, "invalid_param")
    assert response.json()["message"] == "Agent Chat App does not support blocking mode"
    events = events_of(await stream(agent))
    assert [event["event"] for event in events][-2:] == ["agent_message", "message_end"]
    assert answer_of(events) == "t0 t1 "


# Line 4


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


# Line 5


async def test_line_5_a_stream_is_the_stored_answer(each_server):
    chat = await each_server.new_client(tokens=20, interval_ms=2)

    response = await chat.post("/v1/chat-messages", json=chat_body(response_mode="streaming"))

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert all(block.startswith("data: {") and "\n" not in block for block in frames_of(response.text))
    events = events_of(response.text)
    assert events[-1]["event"] == "message_end"
    common = {(e["conversation_id"], e["message_id"], e["task_id"], e["created_at"], e["id"]) for e in events}
    assert len(common) == 1
    (stored,) = (await history(chat, events[0]["conversation_id"]))["data"]
    assert answer_of(events) == stored["answer"] == TWENTY_TOKENS
    assert stored["id"] == events[0]["id"]


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("/script tokens=50 interval_ms=50", id="flowing"),
        pytest.param("/script tokens=1 first_token_ms=2500", id="silent"),
    ],
)
async def test_line_5_pings_one_per_full_interval(tmp_path, query):
    """Two and a half intervals, as the contract's 25 seconds are; only the interval is shorter."""
    async with live_server(tmp_path / "data", http=HttpSettings(ping_seconds=1.0)) as server:
        text = await stream(await server.new_client(), query)

    assert [block for block in frames_of(text) if not block.startswith("data: ")] == ["event: ping"] * 2
    assert not frames_of(text)[-1].startswith("event: ping")


async def test_line_5_every_event_but_the_error_has_a_task(chat):
    events = events_of(await stream(chat, "/script tokens=5 fail_after=3 fail_as=invalid"))

    assert [("task_id" in event, event["event"] == "error") for event in events[-2:]] == [(True, False), (False, True)]


# Line 6


async def begin(client: httpx.AsyncClient, query: str, **more: Any) -> tuple[dict[str, Any], "asyncio.Task[str]"]:
    """The first event of a stream, and the whole of it when it has ended."""
    first: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def read() -> str:
        body = chat_body(query, response_mode="streaming", **more)
        async with client.stream("POST", "/v1/chat-messages", json=body) as response:
            text = ""
            async for chunk in response.aiter_text():
                text += chunk
                if not first.done() and "\n\n" in text:
                    first.set_result(json.loads(frames_of(text)[0][6:]))
            return text

    task = asyncio.create_task(read())
    return await first, task


async def test_line_6_a_stop_by_the_owner(chat):
    event, reading = await begin(chat, "/script tokens=10000 interval_ms=5")

    stopped = await chat.post(f"/v1/chat-messages/{event['task_id']}/stop", json={"user": "ada"})

    assert (stopped.status_code, stopped.json()) == (200, {"result": "success"})
    events = events_of(await asyncio.wait_for(reading, 2))
    assert events[-1]["event"] == "message_end"
    assert events[-1]["metadata"]["status"] == "stopped"
    (message,) = (await history(chat, event["conversation_id"]))["data"]
    assert message["status"] == "normal"
    assert message["error"] is None
    assert message["answer"] == answer_of(events)
    assert message["answer"].startswith("t0 ")


@pytest.mark.parametrize("task", ["theirs", "01a209cf-b060-723e-b445-678d1e038161", "no-uuid-at-all"])
async def test_line_6_a_stop_by_another_user_or_of_a_random_task_does_nothing(chat, task):
    event, reading = await begin(chat, "/script tokens=20 interval_ms=10")

    task_id = event["task_id"] if task == "theirs" else task
    stopped = await chat.post(f"/v1/chat-messages/{task_id}/stop", json={"user": "somebody else"})

    assert (stopped.status_code, stopped.json()) == (200, {"result": "success"})
    assert answer_of(events_of(await reading)) == TWENTY_TOKENS


async def test_line_6_a_stop_of_a_blocking_call(chat):
    waiting = asyncio.create_task(ask(chat, "/script tokens=2 interval_ms=60000"))

    async def first_message() -> dict[str, Any] | None:
        conversations = (await chat.get("/v1/conversations", params={"user": "ada"})).json()["data"]
        page = [message for entry in conversations for message in (await history(chat, entry["id"]))["data"]]
        return page[0] if page and page[0]["answer"] else None

    async def has_begun() -> bool:
        return await first_message() is not None

    await until(has_begun)
    events = (await chat.get(f"/v1/messages/{(await first_message() or {})['id']}/events")).json()["data"]
    await chat.post(f"/v1/chat-messages/{events[0]['data']['task_id']}/stop", json={"user": "ada"})

    answer = await asyncio.wait_for(waiting, 5)
    assert answer["answer"] == "t0 "
    assert (answer["metadata"]["status"], answer["metadata"]["stopped_by"]) == ("stopped", "user")
    assert "finish_reason" not in answer["metadata"]


# Line 7


async def test_line_7_a_failure_in_the_middle_of_a_stream(chat):
    events = events_of(await stream(chat, "/script tokens=5 fail_after=3 fail_as=invalid"))

    error = events[-1]
    assert error["event"] == "error"
    assert (error["code"], error["status"]) == ("completion_request_error", 400)
    assert error["message"] == "scripted failure: invalid"
    assert "message_end" not in [event["event"] for event in events]
    (message,) = (await history(chat, error["conversation_id"]))["data"]
    assert (message["status"], message["error"]) == ("error", "scripted failure: invalid")
    assert message["answer"] == answer_of(events) == "t0 t1 t2 "


@pytest.mark.parametrize(
    ("kind", "code", "status", "http_status"),
    [
        ("credentials", "provider_not_initialize", 400, 403),
        ("quota", "provider_quota_exceeded", 400, 429),
        ("internal", "internal_server_error", 500, 500),
    ],
)
async def test_line_7_each_failure_by_its_code(chat, kind, code, status, http_status):
    (error,) = events_of(await stream(chat, f"/script fail_as={kind}"))

    assert (error["code"], error["status"], error["http_status"]) == (code, status, http_status)


# Line 8


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


@pytest.mark.parametrize("limit", ["0", "101", "ten", "1.5", "-1", "9" * 5_000])
async def test_line_8_limits_out_of_bounds(chat, limit):
    response = await chat.get("/v1/messages", params={"conversation_id": str(uuid.uuid4()), "limit": limit})

    assert (response.status_code, response.json()["code"], response.json()["params"]) == (400, "invalid_param", "limit")


async def test_line_8_a_foreign_conversation_and_a_foreign_first_message(server, chat):
    mine, theirs = await ask(chat), await ask(await server.new_client(tokens=1))

    response = await chat.get("/v1/messages", params={"conversation_id": theirs["conversation_id"]})
    assert (response.status_code, response.json()["message"]) == (404, "Conversation Not Exists.")
    params = {"conversation_id": mine["conversation_id"], "first_id": theirs["message_id"]}
    response = await chat.get("/v1/messages", params=params)
    assert (response.status_code, response.json()["message"]) == (404, "First Message Not Exists.")


async def test_line_8_an_empty_conversation_id_is_an_empty_page(chat):
    assert await history(chat, "") == {"limit": 20, "has_more": False, "data": []}


# Line 9


@pytest.fixture
async def rated(chat: httpx.AsyncClient) -> "Rated":
    answer = await ask(chat)
    return Rated(chat, answer["message_id"], answer["conversation_id"])


class Rated:
    """One message, its rating route and what history shows of it."""

    def __init__(self, client: httpx.AsyncClient, message_id: str, conversation_id: str) -> None:
        self.client = client
        self.route = f"/v1/messages/{message_id}/feedbacks"
        self.conversation_id = conversation_id

    async def rate(self, **body: Any) -> httpx.Response:
        return await self.client.post(self.route, json={"user": "ada"} | body)

    async def shown(self) -> Any:
        return (await history(self.client, self.conversation_id))["data"][0]["feedback"]


@pytest.mark.parametrize("rating", ["like", "dislike"])
async def test_line_9_a_rating_creates_and_overwrites_content_included(rated, rating):
    assert (await rated.rate(rating=rating, content="because")).json() == {"result": "success"}
    assert await rated.shown() == {"rating": rating, "content": "because"}
    assert (await rated.rate(rating="like")).status_code == 200
    assert await rated.shown() == {"rating": "like"}


@pytest.mark.parametrize("withdrawal", [{"rating": None}, {}])
async def test_line_9_null_or_absent_withdraws(rated, withdrawal):
    await rated.rate(rating="like")

    assert (await rated.rate(**withdrawal)).status_code == 200
    assert await rated.shown() is None
    again = await rated.rate(**withdrawal)
    assert (again.status_code, again.json()["code"]) == (400, "invalid_param")
    assert again.json()["message"] == "rating cannot be None when feedback not exists"


@pytest.mark.parametrize("rating", ["great", 1, True, ["like"], ""])
async def test_line_9_another_value_is_refused(rated, rating):
    response = await rated.rate(rating=rating)

    assert (response.status_code, response.json()["code"], response.json()["params"]) == (
        400,
        "invalid_param",
        "rating",
    )
    assert await rated.shown() is None


async def test_line_9_the_list_of_ratings(rated):
    await rated.rate(rating="dislike", content="too short")

    response = await rated.client.get("/v1/app/feedbacks", params={"page": 1, "limit": 101})

    assert list(response.json()) == ["data"]
    (entry,) = response.json()["data"]
    assert (entry["rating"], entry["content"], entry["from_source"]) == ("dislike", "too short", "user")
    assert entry["from_account_id"] is None
    assert entry["created_at"].endswith("Z")
    assert (await rated.client.get("/v1/app/feedbacks", params={"page": 2})).json() == {"data": []}


# Line 10


async def test_line_10_two_users_never_see_each_other(chat):
    ada, bob = await ask(chat, "same", user="ada"), await ask(chat, "same", user="bob")

    assert ada["conversation_id"] != bob["conversation_id"]
    for user, own, other in (("ada", ada, bob), ("bob", bob, ada)):
        listed = await chat.get("/v1/conversations", params={"user": user})
        assert [entry["id"] for entry in listed.json()["data"]] == [own["conversation_id"]]
        theirs = {"conversation_id": other["conversation_id"]}
        refusals = [
            await chat.get("/v1/messages", params=theirs | {"user": user}),
            await chat.post("/v1/chat-messages", json=chat_body(user=user, **theirs)),
            await chat.post(f"/v1/messages/{other['id']}/feedbacks", json={"rating": "like", "user": user}),
            await chat.get(f"/v1/messages/{other['id']}", params={"user": user}),
            await chat.get(f"/v1/messages/{other['id']}/events", params={"user": user}),
            await chat.get(f"/v1/messages/{other['id']}/stream", params={"user": user}),
            await chat.get(f"/v1/tasks/{other['task_id']}", params={"user": user}),
        ]
        assert [(response.status_code, response.json()["code"]) for response in refusals] == [(404, "not_found")] * 7


async def test_line_10_two_apps_never_see_each_other(server, chat):
    mine, stranger = await ask(chat), await server.new_client(tokens=1)

    refusals = [
        await stranger.get("/v1/messages", params={"conversation_id": mine["conversation_id"]}),
        await stranger.get(f"/v1/messages/{mine['id']}"),
        await stranger.get(f"/v1/messages/{mine['id']}/stream"),
        await stranger.get(f"/v1/tasks/{mine['task_id']}"),
        await stranger.post(f"/v1/messages/{mine['id']}/feedbacks", json={"rating": "like"}),
    ]

    assert [response.status_code for response in refusals] == [404] * 5


# Line 11, of which this release has the list


@pytest.mark.parametrize(
    ("sort_by", "expected"),
    [
        ("created_at", ["one", "two", "three"]),
        ("-created_at", ["three", "two", "one"]),
        ("updated_at", ["two", "three", "one"]),
        ("-updated_at", ["one", "three", "two"]),
        ("", ["one", "three", "two"]),
    ],
)
async def test_line_11_conversations_page_by_page(server, sort_by, expected):
    chat = await server.new_client(tokens=1)
    one, _, _ = [await ask(chat, name) for name in ("one", "two", "three")]
    await ask(chat, "again", conversation_id=one["conversation_id"])

    names: list[str] = []
    last_id, has_more = "", True
    while has_more:
        params = {"user": "ada", "limit": 1, "sort_by": sort_by, "last_id": last_id, "pinned": ""}
        page = (await chat.get("/v1/conversations", params=params)).json()
        names += [entry["name"] for entry in page["data"]]
        last_id, has_more = page["data"][-1]["id"], page["has_more"]

    assert names == expected


async def test_line_11_conversations_without_a_user_are_those_of_the_shared_one(chat):
    await ask(chat)
    assert (await chat.get("/v1/conversations")).json()["data"] == []
    shared = await ask(chat, user="DEFAULT-USER")
    assert [entry["id"] for entry in (await chat.get("/v1/conversations")).json()["data"]] == [
        shared["conversation_id"]
    ]


async def name_of(client: httpx.AsyncClient) -> str:
    (conversation,) = (await client.get("/v1/conversations", params={"user": "ada"})).json()["data"]
    name: str = conversation["name"]
    return name


async def test_line_11_a_new_conversation_gets_a_name_by_itself(server):
    client = await server.new_client(tokens=1, title="A greeting")
    await ask(client, "hello, is anybody there?")

    async def is_named() -> bool:
        return await name_of(client) == "A greeting"

    await until(is_named)


async def test_line_11_a_new_conversation_keeps_its_first_name_where_the_caller_wants_so(server):
    client = await server.new_client(tokens=1, title="A greeting")
    asked = await ask(client, "hello, is anybody there?", auto_generate_name=False)
    assert uuid.UUID(asked["conversation_id"]) not in await server.running.application.views.unnamed(1_000)
    assert await name_of(client) == "hello, is anybody th…"


# Line 12


async def test_line_12_a_completion_key_on_chat_routes(server):
    completion = await server.new_client("completion", tokens=1)

    refusals = [
        await completion.post("/v1/chat-messages", json=chat_body()),
        await completion.post(f"/v1/chat-messages/{uuid.uuid4()}/stop", json={"user": "ada"}),
        await completion.get("/v1/messages", params={"conversation_id": str(uuid.uuid4())}),
        await completion.get("/v1/conversations"),
    ]

    assert [(response.status_code, response.json()["code"]) for response in refusals] == [(400, "not_chat_app")] * 4


async def test_line_12_a_chat_key_on_completion_routes(chat):
    refusals = [
        await chat.post("/v1/completion-messages", json=chat_body()),
        await chat.post(f"/v1/completion-messages/{uuid.uuid4()}/stop", json={"user": "ada"}),
    ]

    assert [(response.status_code, response.json()["code"]) for response in refusals] == [(400, "app_unavailable")] * 2


# Line 13


async def more_like_this(client: httpx.AsyncClient, message_id: str, **query: Any) -> httpx.Response:
    return await client.get(f"/v1/messages/{message_id}/more-like-this", params=query)


@pytest.fixture
async def completion(server: LiveServer) -> httpx.AsyncClient:
    """With the key of a completion app that gives more of the same kind."""
    key = await server.new_key("completion", configuration={"more_like_this": {"enabled": True}})
    return server.client(key)


async def complete(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    body = {"inputs": {}, "query": "/script tokens=3 text='a poem'", "user": "ada"} | more
    response = await client.post("/v1/completion-messages", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_line_13_more_like_this_is_a_new_message(completion):
    original = await complete(completion)
    response = await more_like_this(completion, original["message_id"], response_mode="blocking")

    assert response.status_code == 200, response.text
    other = response.json()
    assert other.keys() == original.keys()
    assert (other["answer"], other["mode"]) == (original["answer"], "completion")
    assert other["message_id"] != original["message_id"]
    assert (await completion.get(f"/v1/messages/{original['message_id']}")).json()["answer"] == original["answer"]


async def test_line_13_more_like_this_as_a_stream(completion):
    original = await complete(completion)
    events = events_of((await more_like_this(completion, original["message_id"], response_mode="streaming")).text)

    assert answer_of(events) == "a poem"
    assert events[-1]["event"] == "message_end"
    assert {event["message_id"] for event in events}.isdisjoint({original["message_id"]})


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({}, 400, "invalid_param"),
        ({"response_mode": ""}, 400, "invalid_param"),
        ({"response_mode": "whole"}, 400, "invalid_param"),
        ({"response_mode": "blocking", "user": "eve"}, 404, "not_found"),
    ],
)
async def test_line_13_what_is_refused(completion, query, status, code):
    response = await more_like_this(completion, (await complete(completion))["message_id"], **query)
    assert (response.status_code, response.json()["code"]) == (status, code)
    if status == 400:
        assert response.json()["params"] == "response_mode"


async def test_line_13_switched_off(server):
    client = await server.new_client("completion")
    response = await more_like_this(client, (await complete(client))["message_id"], response_mode="blocking")
    assert (response.status_code, response.json()["code"]) == (403, "app_more_like_this_disabled")


async def test_line_13_a_chat_gives_no_more(chat):
    response = await more_like_this(chat, (await ask(chat))["message_id"], response_mode="blocking")
    assert (response.status_code, response.json()["code"]) == (403, "not_completion_app")


# Line 14

QUESTIONS = ["Why?", "How?", "When?"]


@pytest.fixture
async def suggesting(server: LiveServer) -> httpx.AsyncClient:
    """With the key of a chat app that suggests questions."""
    feature = {"suggested_questions_after_answer": {"enabled": True}}
    script = {"tokens": 2, "suggestions": f"Here they are: {json.dumps(QUESTIONS)}."}
    return server.client(await server.new_key(configuration={"settings": script} | feature))


async def suggested(client: httpx.AsyncClient, message_id: object, path: str = "suggested", **query: Any) -> Any:
    return await client.get(f"/v1/messages/{message_id}/{path}", params=query)


async def test_line_14_the_two_paths(suggesting):
    message_id = (await ask(suggesting))["message_id"]
    with_result = await suggested(suggesting, message_id, user="ada")
    alone = await suggested(suggesting, message_id, "suggested-questions")

    assert (with_result.status_code, with_result.json()) == (200, {"result": "success", "data": QUESTIONS})
    assert (alone.status_code, alone.json()) == (200, {"data": QUESTIONS})


@pytest.mark.parametrize("script", ["text_fail_as=transient", "suggestions=none", "fail_as=internal"])
async def test_line_14_a_failure_of_the_model_suggests_nothing(suggesting, script):
    sent = await suggesting.post("/v1/chat-messages", json=chat_body(f"/script {script}", response_mode="async"))
    await until(lambda: has_ended(suggesting, sent.json()["task_id"]))
    response = await suggested(suggesting, sent.json()["message_id"], user="ada")
    assert (response.status_code, response.json()) == (200, {"result": "success", "data": []})


async def has_ended(client: httpx.AsyncClient, task_id: str) -> bool:
    task = (await client.get(f"/v1/tasks/{task_id}")).json()
    return task["ended_at"] is not None


async def test_line_14_of_nobody_elses_message(suggesting):
    message_id = (await ask(suggesting))["message_id"]
    for path, text in (("suggested", "Message Not Exists."), ("suggested-questions", "Message not found")):
        for answer in (
            await suggested(suggesting, message_id, path, user="eve"),
            await suggested(suggesting, uuid.uuid4(), path),
        ):
            assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (404, "not_found", text)


@pytest.mark.parametrize("path", ["suggested", "suggested-questions"])
async def test_line_14_switched_off_or_not_for_this_kind_of_app(chat, completion, path):
    off = await suggested(chat, (await ask(chat))["message_id"], path)
    assert (off.status_code, off.json()["code"]) == (403, "app_suggested_questions_after_answer_disabled")
    other = await suggested(completion, (await complete(completion))["message_id"], path)
    assert (other.status_code, other.json()["code"]) == (403, "not_chat_app")


# Line 15


async def test_line_15_a_client_that_drops_does_not_end_its_message(each_server):
    chat = await each_server.new_client()
    event, reading = await begin(chat, "/script tokens=20 interval_ms=10")

    reading.cancel()

    async def is_whole() -> bool:
        (message,) = (await history(chat, event["conversation_id"]))["data"]
        return bool(message["answer"] == TWENTY_TOKENS)

    await until(is_whole)


# Line 17


async def test_line_17_the_calls_of_the_brief_with_the_key_alone(chat):
    answer = await ask(chat)

    page = await chat.get(f"/v1/messages?conversation_id={answer['conversation_id']}&limit=10")
    rated = await chat.post(f"/v1/messages/{answer['id']}/feedbacks", json={"rating": "like", "content": "well said"})

    assert (page.status_code, [message["id"] for message in page.json()["data"]]) == (200, [answer["id"]])
    assert (rated.status_code, rated.json()) == (200, {"result": "success"})
    (message,) = (await history(chat, answer["conversation_id"], user="ada"))["data"]
    assert message["feedback"] == {"rating": "like", "content": "well said"}


# Line 18


@pytest.mark.parametrize("mode", ["chat", "completion"])
async def test_line_18_asynchronous_sending(server, mode):
    client = await server.new_client(mode, tokens=20, interval_ms=1)

    response = await client.post(f"/v1/{mode}-messages", json=chat_body(response_mode="async"))

    accepted = response.json()
    assert response.status_code == 202
    assert set(accepted) == {"task_id", "message_id", "conversation_id", "status"}
    assert accepted["status"] == "queued"
    assert response.headers["location"] == f"/v1/tasks/{accepted['task_id']}"

    async def is_completed() -> bool:
        task = (await client.get(response.headers["location"])).json()
        return bool(task["status"] == "completed")

    await until(is_completed)
    task = (await client.get(response.headers["location"])).json()
    assert task["created_at"] <= task["started_at"] <= task["ended_at"]
    assert (task["attempt"], task["error"]) == (1, None)
    message = (await client.get(f"/v1/messages/{accepted['message_id']}")).json()
    assert message["answer"] == TWENTY_TOKENS
    if mode == "chat":
        assert [m["id"] for m in (await history(client, accepted["conversation_id"]))["data"]] == [message["id"]]
