"""Several senders in one conversation, over HTTP."""

import asyncio
from itertools import pairwise
from typing import Any

import httpx

from tests.support.chatting import ask, begin
from tests.support.databases import ON_SQLITE
from tests.support.server import LiveServer, chat_body, events_of, until

ENDLESS = "/script tokens=2 interval_ms=3600000"
TERMINAL = {"MessageCompleted", "MessageStopped", "MessageErrored"}


async def send(client: httpx.AsyncClient, conversation_id: str, on_busy: str, query: str = "hello") -> httpx.Response:
    body = chat_body(query, conversation_id=conversation_id, on_busy=on_busy, response_mode="streaming")
    return await client.post("/v1/chat-messages", json=body)


async def facts(client: httpx.AsyncClient, message_id: str) -> dict[str, dict[str, Any]]:
    """Of a message, the last event of each type by its name."""
    found = (await client.get(f"/v1/messages/{message_id}/events", params={"limit": 100})).json()
    return {event["type"]: event for event in found["data"]}


async def test_of_all_senders_at_once_one_after_the_other_is_answered(server: LiveServer) -> None:
    client = await server.new_client(tokens=3, interval_ms=10)
    conversation_id = (await ask(client))["conversation_id"]
    words = ["queue", "reject", "queue", "interrupt"] * 4

    responses = await asyncio.gather(*(send(client, conversation_id, word) for word in words))

    refused = [response.json() for response in responses if response.status_code == 409]
    assert {(error["code"], error["status"]) for error in refused} <= {("conversation_busy", 409)}
    accepted = [events_of(response.text) for response in responses if response.status_code == 200]
    assert len(accepted) + len(refused) == len(words)
    assert len(accepted) >= words.count("queue") + words.count("interrupt")
    ends = [(events[-1]["event"], events[-1]["metadata"].get("stopped_by")) for events in accepted]
    assert set(ends) <= {("message_end", None), ("message_end", "interruption")}
    assert ("message_end", None) in ends

    told = [await facts(client, events[-1]["message_id"]) for events in accepted]
    told.sort(key=lambda events: events["MessageCreated"]["position"])
    answered = [events for events in told if "GenerationStarted" in events]
    for events in told:
        assert len(TERMINAL & events.keys()) == 1
    for earlier, later in pairwise(answered):
        (end,) = TERMINAL & earlier.keys()
        assert earlier[end]["position"] < later["GenerationStarted"]["position"]
    listed = (await client.get("/v1/messages", params={"conversation_id": conversation_id, "limit": 100})).json()
    assert len(listed["data"]) == len(accepted) + 1


async def test_a_task_tells_how_many_it_waits_for(server: LiveServer) -> None:
    client = await server.new_client()
    first, reading = await begin(client, ENDLESS)
    body = chat_body("/script tokens=1", conversation_id=first["conversation_id"], response_mode="async")
    waiting = [(await client.post("/v1/chat-messages", json=body | {"on_busy": "queue"})).json() for _ in range(2)]
    tasks = [(await client.get(f"/v1/tasks/{sent['task_id']}")).json() for sent in waiting]
    assert [(task["status"], task["on_busy"], task["ahead"], task["attempt"]) for task in tasks] == [
        ("queued", "queue", 1, 0),
        ("queued", "queue", 2, 0),
    ]
    await client.post(f"/v1/chat-messages/{first['task_id']}/stop", json={"user": "ada"})
    assert events_of(await reading)[-1]["metadata"]["stopped_by"] == "user"

    async def are_answered() -> bool:
        tasks = [(await client.get(f"/v1/tasks/{sent['task_id']}")).json() for sent in waiting]
        return [(task["status"], task["ahead"]) for task in tasks] == [("completed", 0)] * 2

    await until(are_answered)


@ON_SQLITE
async def test_visitors_take_turns_too_and_whoever_asks_again_interrupts(server: LiveServer) -> None:
    app = await server.new_app(configuration={"on_busy": "interrupt", "settings": {"tokens": 2, "interval_ms": 1}})
    visitor = await server.new_visitor(app.site_code)
    begun = {"inputs": {}, "query": ENDLESS, "response_mode": "async"}
    first = (await visitor.post("/api/chat-messages", json=begun)).json()
    path = f"/api/messages/{first['message_id']}/regenerate"
    refused = await visitor.post(path, json={"on_busy": "reject"})
    assert (refused.status_code, refused.json()["code"]) == (409, "conversation_busy")
    again = (await visitor.post(path, json={"response_mode": "async"})).json()

    async def is_interrupted() -> bool:
        return (await visitor.get(f"/api/tasks/{first['task_id']}")).json()["status"] == "stopped"

    await until(is_interrupted)
    task = (await visitor.get(f"/api/tasks/{again['task_id']}")).json()
    assert task["on_busy"] == "interrupt"
    body = {"inputs": {}, "query": "hello", "conversation_id": first["conversation_id"]}
    whole = await visitor.post("/api/chat-messages", json=body)
    assert whole.status_code == 200, whole.text
    assert whole.json()["answer"] == "t0 t1 "
