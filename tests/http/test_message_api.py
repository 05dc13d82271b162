"""The message API under `/v1`, beyond the acceptance list."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from chatledger.adapters.http.settings import HttpSettings
from tests.support.chatting import ask, begin, history, stream
from tests.support.server import LiveServer, answer_of, chat_body, events_of, frames_of, live_server, until

TWENTY_TOKENS = "".join(f"t{number} " for number in range(20))


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(tokens=20)


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
async def test_a_header_that_opens_nothing(server, header, message):
    response = await server.client().get("/v1/info", headers={"Authorization": header})

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="api"'
    assert (response.json()["code"], response.json()["message"]) == ("unauthorized", message)


@pytest.mark.parametrize("faults", [{}, {"query": 5, "inputs": None, "response_mode": "no"}, {"user": ""}, {"user": 0}])
async def test_a_missing_user_is_told_before_all_other_faults(chat, faults):
    body = chat_body() | {"user": None} | faults

    for route in ("/v1/chat-messages", "/v1/completion-messages"):
        response = await chat.post(route, json=body)
        assert response.status_code == 400
        assert response.json()["code"] == "invalid_param"
        assert response.json()["message"] == "Arg user must be provided."


async def test_a_user_that_is_no_string_is_made_one(chat):
    answer = await ask(chat, user=123)

    assert (await history(chat, answer["conversation_id"], user="123"))["data"]


@pytest.mark.parametrize("more", [{}, {"response_mode": None}, {"response_mode": "blocking"}])
async def test_without_a_response_mode_the_answer_is_json(chat, more):
    response = await chat.post("/v1/chat-messages", json=chat_body(**more))

    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json()["answer"] == TWENTY_TOKENS


async def test_an_agent_app_does_not_block(server):
    agent = await server.new_client("agent-chat", tokens=2)

    response = await agent.post("/v1/chat-messages", json=chat_body())

    assert (response.status_code, response.json()["code"]) == (400, "invalid_param")
    assert response.json()["message"] == "Agent Chat App does not support blocking mode"
    events = events_of(await stream(agent))
    assert [event["event"] for event in events][-2:] == ["agent_message", "message_end"]
    assert answer_of(events) == "t0 t1 "


async def test_a_stream_is_the_stored_answer(each_server):
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
async def test_pings_one_per_full_interval(tmp_path, query):
    """Two and a half intervals, as the contract's 25 seconds are; only the interval is shorter."""
    async with live_server(tmp_path / "data", http=HttpSettings(ping_seconds=1.0)) as server:
        text = await stream(await server.new_client(), query)

    assert [block for block in frames_of(text) if not block.startswith("data: ")] == ["event: ping"] * 2
    assert not frames_of(text)[-1].startswith("event: ping")


async def test_every_event_but_the_error_has_a_task(chat):
    events = events_of(await stream(chat, "/script tokens=5 fail_after=3 fail_as=invalid"))

    assert [("task_id" in event, event["event"] == "error") for event in events[-2:]] == [(True, False), (False, True)]


async def test_a_stop_by_the_owner(chat):
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
async def test_a_stop_by_another_user_or_of_a_random_task_does_nothing(chat, task):
    event, reading = await begin(chat, "/script tokens=20 interval_ms=10")

    task_id = event["task_id"] if task == "theirs" else task
    stopped = await chat.post(f"/v1/chat-messages/{task_id}/stop", json={"user": "somebody else"})

    assert (stopped.status_code, stopped.json()) == (200, {"result": "success"})
    assert answer_of(events_of(await reading)) == TWENTY_TOKENS


async def test_a_stop_of_a_blocking_call(chat):
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


async def test_a_failure_in_the_middle_of_a_stream(chat):
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
async def test_each_failure_by_its_code(chat, kind, code, status, http_status):
    (error,) = events_of(await stream(chat, f"/script fail_as={kind}"))

    assert (error["code"], error["status"], error["http_status"]) == (code, status, http_status)


@pytest.mark.parametrize("limit", ["0", "101", "ten", "1.5", "-1", "9" * 5_000])
async def test_limits_out_of_bounds(chat, limit):
    response = await chat.get("/v1/messages", params={"conversation_id": str(uuid.uuid4()), "limit": limit})

    assert (response.status_code, response.json()["code"], response.json()["params"]) == (400, "invalid_param", "limit")


async def test_a_foreign_conversation_and_a_foreign_first_message(server, chat):
    mine, theirs = await ask(chat), await ask(await server.new_client(tokens=1))

    response = await chat.get("/v1/messages", params={"conversation_id": theirs["conversation_id"]})
    assert (response.status_code, response.json()["message"]) == (404, "Conversation Not Exists.")
    params = {"conversation_id": mine["conversation_id"], "first_id": theirs["message_id"]}
    response = await chat.get("/v1/messages", params=params)
    assert (response.status_code, response.json()["message"]) == (404, "First Message Not Exists.")


async def test_an_empty_conversation_id_is_an_empty_page(chat):
    assert await history(chat, "") == {"limit": 20, "has_more": False, "data": []}


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
async def test_a_rating_creates_and_overwrites_content_included(rated, rating):
    assert (await rated.rate(rating=rating, content="because")).json() == {"result": "success"}
    assert await rated.shown() == {"rating": rating, "content": "because"}
    assert (await rated.rate(rating="like")).status_code == 200
    assert await rated.shown() == {"rating": "like"}


@pytest.mark.parametrize("withdrawal", [{"rating": None}, {}])
async def test_null_or_absent_withdraws(rated, withdrawal):
    await rated.rate(rating="like")

    assert (await rated.rate(**withdrawal)).status_code == 200
    assert await rated.shown() is None
    again = await rated.rate(**withdrawal)
    assert (again.status_code, again.json()["code"]) == (400, "invalid_param")
    assert again.json()["message"] == "rating cannot be None when feedback not exists"


@pytest.mark.parametrize("rating", ["great", 1, True, ["like"], ""])
async def test_another_value_is_refused(rated, rating):
    response = await rated.rate(rating=rating)

    assert (response.status_code, response.json()["code"], response.json()["params"]) == (
        400,
        "invalid_param",
        "rating",
    )
    assert await rated.shown() is None


async def test_the_list_of_ratings(rated):
    await rated.rate(rating="dislike", content="too short")

    response = await rated.client.get("/v1/app/feedbacks", params={"page": 1, "limit": 101})

    assert list(response.json()) == ["data"]
    (entry,) = response.json()["data"]
    assert (entry["rating"], entry["content"], entry["from_source"]) == ("dislike", "too short", "user")
    assert entry["from_account_id"] is None
    assert entry["created_at"].endswith("Z")
    assert (await rated.client.get("/v1/app/feedbacks", params={"page": 2})).json() == {"data": []}


async def test_two_users_never_see_each_other(chat):
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


async def test_two_apps_never_see_each_other(server, chat):
    mine, stranger = await ask(chat), await server.new_client(tokens=1)

    refusals = [
        await stranger.get("/v1/messages", params={"conversation_id": mine["conversation_id"]}),
        await stranger.get(f"/v1/messages/{mine['id']}"),
        await stranger.get(f"/v1/messages/{mine['id']}/stream"),
        await stranger.get(f"/v1/tasks/{mine['task_id']}"),
        await stranger.post(f"/v1/messages/{mine['id']}/feedbacks", json={"rating": "like"}),
    ]

    assert [response.status_code for response in refusals] == [404] * 5


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
async def test_conversations_page_by_page(server, sort_by, expected):
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


async def test_conversations_without_a_user_are_those_of_the_shared_one(chat):
    await ask(chat)
    assert (await chat.get("/v1/conversations")).json()["data"] == []
    shared = await ask(chat, user="DEFAULT-USER")
    assert [entry["id"] for entry in (await chat.get("/v1/conversations")).json()["data"]] == [
        shared["conversation_id"]
    ]


async def test_a_client_that_drops_does_not_end_its_message(each_server):
    chat = await each_server.new_client()
    event, reading = await begin(chat, "/script tokens=20 interval_ms=10")

    reading.cancel()

    async def is_whole() -> bool:
        (message,) = (await history(chat, event["conversation_id"]))["data"]
        return bool(message["answer"] == TWENTY_TOKENS)

    await until(is_whole)


@pytest.mark.parametrize("mode", ["chat", "completion"])
async def test_asynchronous_sending(server, mode):
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
