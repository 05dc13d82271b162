"""Tasks, single messages and their events: for the app whose they are, and for operators."""

import uuid
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.support.server import LiveServer, chat_body


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(tokens=3)


async def test_a_message_and_its_version(chat):
    answer = (await chat.post("/v1/chat-messages", json=chat_body())).json()

    message = (await chat.get(f"/v1/messages/{answer['id']}")).json()

    assert (message["answer"], message["status"], message["siblings"]) == ("t0 t1 t2 ", "normal", [])
    (listed,) = (await chat.get("/v1/messages", params={"conversation_id": answer["conversation_id"]})).json()["data"]
    assert message == listed | {"version": message["version"], "siblings": []}


async def test_the_events_of_a_message_page_by_page(chat):
    sent = await chat.post("/v1/chat-messages", json=chat_body("/script tokens=5 interval_ms=60"))
    answer = sent.json()
    events, cursor, has_more = [], "", True
    while has_more:
        params = {"limit": 2, "cursor": cursor}
        page = (await chat.get(f"/v1/messages/{answer['id']}/events", params=params)).json()
        events += page["data"]
        cursor, has_more = page["cursor"], page["has_more"]

    assert cursor is None
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    assert [events[0]["type"], events[1]["type"], events[-1]["type"]] == [
        "MessageCreated",
        "GenerationStarted",
        "MessageCompleted",
    ]
    text = "".join(event["data"]["text"] for event in events if event["type"] == "AnswerChunkAppended")
    assert text == answer["answer"]
    assert events[0]["data"]["query"] == "/script tokens=5 interval_ms=60"
    assert events[0]["actor"]["kind"] == "end_user"
    assert events[1]["actor"]["kind"] == "worker"
    assert events[0]["correlation_id"] == sent.headers["x-request-id"]
    assert {event["schema"] for event in events} == {1}
    assert datetime.fromisoformat(events[0]["at"]).tzinfo is not None


async def all_events(client: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    events, cursor = [], ""
    while cursor is not None:
        response = await client.get(f"{path}/events", params=params | {"cursor": cursor})
        assert response.status_code == 200, response.text
        page = response.json()
        events += page["data"]
        cursor = page["cursor"]
        assert page["has_more"] == (cursor is not None)
    return events


async def test_the_events_of_a_conversation_are_its_own_and_its_messages(server, chat):
    first = (await chat.post("/v1/chat-messages", json=chat_body())).json()
    path = f"/v1/conversations/{first['conversation_id']}"
    second = (await chat.post("/v1/chat-messages", json=chat_body(conversation_id=first["conversation_id"]))).json()
    await chat.post(f"{path}/name", json={"name": "Mine", "user": "ada"})
    await chat.post(f"/v1/messages/{first['id']}/feedbacks", json={"rating": "like", "user": "ada"})

    events = await all_events(chat, path, user="ada", limit=3)
    of_messages = [await all_events(chat, f"/v1/messages/{each['id']}") for each in (first, second)]
    own = [event for event in events if all(event not in each for each in of_messages)]

    assert [event["position"] for event in events] == sorted({event["position"] for event in events})
    assert [event["type"] for event in own if event["actor"]["kind"] == "end_user"] == [
        "ConversationStarted",
        "ConversationRenamed",
    ]
    assert events[-1]["type"] == "FeedbackGiven"
    assert len(events) == len(own) + sum(map(len, of_messages))
    assert await all_events(chat, path, user="ada", limit=100) == events
    assert "parameters" not in events[1]["data"]
    operator = server.client(await server.new_token("audit"))
    assert any("parameters" in event["data"] for event in await all_events(operator, path))


async def test_the_events_of_a_conversation_are_its_owners_and_after_its_deletion_operators(server, chat):
    answer = (await chat.post("/v1/chat-messages", json=chat_body())).json()
    path = f"/v1/conversations/{answer['conversation_id']}"
    operator = server.client(await server.new_token("audit"))

    for client, user in ((await server.new_client(), "ada"), (chat, "grace")):
        assert (await client.get(f"{path}/events", params={"user": user})).status_code == 404
    assert (await chat.request("DELETE", path, json={"user": "ada"})).status_code == 204
    assert (await chat.get(f"{path}/events", params={"user": "ada"})).json()["message"] == "Conversation Not Exists."
    assert (await all_events(operator, path))[-1]["type"] == "ConversationDeleted"
    for nothing in (uuid.uuid4(), answer["id"]):
        assert (await operator.get(f"/v1/conversations/{nothing}/events")).status_code == 404
    for cursor in ("v1", "p", "p-1", "1"):
        refused = await operator.get(f"{path}/events", params={"cursor": cursor})
        assert (refused.status_code, refused.json()["params"]) == (400, "cursor")


async def test_of_what_was_erased_the_events_say_what_is_public(server, chat):
    answer = (await chat.post("/v1/chat-messages", json=chat_body("a secret"))).json()
    (created,), _ = await server.running.application.facts.stream(uuid.UUID(answer["id"]), 0, 1)
    before = await all_events(chat, f"/v1/conversations/{answer['conversation_id']}")
    server.running.ledger.keyring.destroy([created.envelope.key_id])

    events = await all_events(chat, f"/v1/conversations/{answer['conversation_id']}")
    assert [(event["position"], event["type"]) for event in events] == [
        (event["position"], event["type"]) for event in before
    ]
    assert all(event["data"].items() <= old["data"].items() for event, old in zip(events, before, strict=True))
    (asked,) = [event["data"] for event in events if event["type"] == "MessageCreated"]
    assert asked["conversation_id"] == answer["conversation_id"]
    assert not {"query", "inputs", "files", "parameters"} & asked.keys()
    assert await all_events(chat, f"/v1/messages/{answer['id']}") == [
        event for event in events if not event["type"].startswith("Conversation")
    ]


@pytest.mark.parametrize(("user", "kind"), [({"user": "ada"}, "end_user"), ({}, "api_key")])
async def test_a_rating_is_the_doing_of_whoever_gave_it(chat, user, kind):
    answer = (await chat.post("/v1/chat-messages", json=chat_body())).json()
    rated = await chat.post(f"/v1/messages/{answer['id']}/feedbacks", json={"rating": "like"} | user)
    assert rated.status_code == 200
    page = (await chat.get(f"/v1/messages/{answer['id']}/events")).json()
    assert (page["data"][-1]["type"], page["data"][-1]["actor"]["kind"]) == ("FeedbackGiven", kind)


async def test_the_state_of_a_failed_task(chat):
    body = chat_body("/script fail_as=quota", response_mode="async")
    location = (await chat.post("/v1/chat-messages", json=body)).headers["location"]
    while (task := (await chat.get(location)).json())["status"] != "errored":
        assert task["status"] in ("queued", "running")

    assert task["error"] == {"code": "provider_quota_exceeded", "message": "scripted failure: quota"}


async def test_an_operator_reads_what_belongs_to_any_app(server, chat):
    answer = (await chat.post("/v1/chat-messages", json=chat_body())).json()
    operator = server.client(await server.new_token("audit"))

    for path in ("", "/events", "/stream"):
        response = await operator.get(f"/v1/messages/{answer['id']}{path}")
        assert response.status_code == 200
    assert (await operator.get(f"/v1/tasks/{answer['task_id']}")).json()["status"] == "completed"
    assert (await operator.get(f"/v1/tasks/{uuid.uuid4()}")).status_code == 404


async def test_an_operator_without_the_scope_reads_nothing(server, chat):
    answer = (await chat.post("/v1/chat-messages", json=chat_body())).json()
    operator = server.client(await server.new_token("operate", "erase"))
    message, conversation = f"/v1/messages/{answer['id']}", f"/v1/conversations/{answer['conversation_id']}"

    for place in (message, conversation):
        for path in ("/events", "/stream", "/receipt"):
            response = await operator.get(f"{place}{path}")
            assert (response.status_code, response.json()["code"]) == (403, "forbidden"), path
    assert (await operator.get(message)).status_code == 403
    assert (await operator.get(f"/v1/tasks/{answer['task_id']}")).json()["status"] == "completed"


async def test_an_operator_is_no_app(server):
    operator = server.client(await server.new_token("audit", "operate", "erase"))

    for response in (
        await operator.post("/v1/chat-messages", json=chat_body()),
        await operator.get("/v1/conversations"),
        await operator.get("/v1/info"),
    ):
        assert (response.status_code, response.json()["message"]) == (401, "Access token is invalid")


async def test_a_token_that_opens_nothing(server):
    response = await server.client("op-" + "x" * 24).get(f"/v1/tasks/{uuid.uuid4()}")

    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({"X-Trace-Id": "from-header"}, "from-header"),
        ({"X-Trace-Id": "not valid!"}, "from-query"),
        ({}, "from-query"),
    ],
)
async def test_a_trace_id_is_kept_and_not_told(server, chat, headers, trace):
    body = chat_body(trace_id="from-body")
    response = await chat.post("/v1/chat-messages?trace_id=from-query", json=body, headers=headers)

    assert trace not in response.text
    facts, _ = await server.running.application.facts.stream(uuid.UUID(response.json()["id"]), 0, 1)
    assert facts[0].context.trace == trace
