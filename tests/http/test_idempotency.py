"""The header ``Idempotency-Key``: what a client is told that sends the same again."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.support.chatting import begin
from tests.support.databases import ON_SQLITE
from tests.support.server import LiveServer, answer_of, chat_body, events_of, until

CHAT = "/v1/chat-messages"
REPEATED = "idempotent-replayed"
ENDLESS = "/script tokens=100000 interval_ms=5"


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(tokens=3)


def posted(client: httpx.AsyncClient, body: dict[str, Any], key: str = "once", path: str = CHAT) -> Any:
    return client.post(path, json=body, headers={"Idempotency-Key": key})


def is_repeat(response: httpx.Response) -> bool:
    assert response.headers.get(REPEATED) in {None, "true"}
    return REPEATED in response.headers


async def test_a_repeat_gets_the_answer_in_whatever_way_it_asks_for_it(chat):
    first = await posted(chat, chat_body())
    assert (first.status_code, is_repeat(first)) == (200, False)

    whole = await posted(chat, chat_body(response_mode="blocking"))
    accepted = await posted(chat, chat_body(response_mode="async", auto_generate_name=False))
    streams = [await posted(chat, chat_body(response_mode="streaming", trace_id=f"t{number}")) for number in (1, 2)]

    assert all(map(is_repeat, (whole, accepted, *streams)))
    assert whole.json() == first.json()
    ids = {name: first.json()[name] for name in ("message_id", "task_id", "conversation_id")}
    assert (accepted.status_code, accepted.json()) == (202, ids | {"status": "completed"})
    assert accepted.headers["location"] == f"/v1/tasks/{ids['task_id']}"
    assert streams[0].content == streams[1].content
    assert answer_of(events_of(streams[0].text)) == first.json()["answer"] == "t0 t1 t2 "


@pytest.mark.parametrize("header", [{}, {"X-Stream-Ids": "1"}], ids=["plain", "ids"])
async def test_a_repeated_stream_begins_with_the_first_event(each_server, header):
    chat = await each_server.new_client()
    body = chat_body("/script tokens=40 interval_ms=5", response_mode="streaming")
    headers = {"Idempotency-Key": "once"} | header
    together = await asyncio.gather(*(chat.post(CHAT, json=body, headers=headers) for _ in range(5)))
    later = await chat.post(CHAT, json=body, headers=headers)

    assert [is_repeat(response) for response in together].count(False) == 1
    assert is_repeat(later)
    assert {response.content for response in together} == {later.content}
    conversation = events_of(later.text)[0]["conversation_id"]
    page = await chat.get("/v1/messages", params={"conversation_id": conversation})
    (message,) = page.json()["data"]
    assert answer_of(events_of(later.text)) == message["answer"]


async def test_a_stopped_answer_is_told_as_stopped(chat):
    accepted = (await posted(chat, chat_body(ENDLESS, response_mode="async"))).json()
    await chat.post(f"{CHAT}/{accepted['task_id']}/stop", json={"user": "ada"})

    whole = await posted(chat, chat_body(ENDLESS))
    streamed = await posted(chat, chat_body(ENDLESS, response_mode="streaming"))
    again = await posted(chat, chat_body(ENDLESS, response_mode="async"))

    assert (whole.json()["message_id"], whole.json()["metadata"]["status"]) == (accepted["message_id"], "stopped")
    assert events_of(streamed.text)[-1]["metadata"]["status"] == "stopped"
    assert again.json() == accepted | {"status": "stopped"}


async def test_a_failure_is_told_again_and_not_tried_again(chat):
    query = "/script fail_as=credentials fail_after=1"
    first, second = [await posted(chat, chat_body(query)) for _ in range(2)]
    assert [response.status_code for response in (first, second)] == [403, 403]
    assert first.json() == second.json()
    assert (is_repeat(first), is_repeat(second)) == (False, True)
    streamed = await posted(chat, chat_body(query, response_mode="streaming"))
    assert [event["event"] for event in events_of(streamed.text)] == ["message", "error"]
    assert (await posted(chat, chat_body(query, response_mode="async"))).json()["status"] == "errored"


@ON_SQLITE
async def test_a_running_answer_is_told_as_running(chat):
    accepted = (await posted(chat, chat_body(ENDLESS, response_mode="async"))).json()

    async def runs() -> bool:
        return (await posted(chat, chat_body(ENDLESS, response_mode="async"))).json() == accepted | {
            "status": "running"
        }

    await until(runs)
    await chat.post(f"{CHAT}/{accepted['task_id']}/stop", json={"user": "ada"})


async def test_another_request_under_the_key_is_refused_by_name(chat):
    await posted(chat, chat_body())
    for mode in ("blocking", "streaming", "async"):
        refused = await posted(chat, chat_body("hi", response_mode=mode))
        assert (refused.status_code, refused.json()) == (
            422,
            {
                "code": "idempotency_key_reused",
                "message": "Another request was sent under this key.",
                "status": 422,
                "params": "Idempotency-Key",
            },
        )
        assert not is_repeat(refused)


async def test_a_key_whose_conversation_is_deleted_stands_for_nothing(chat):
    answer = (await posted(chat, chat_body())).json()
    await chat.request("DELETE", f"/v1/conversations/{answer['conversation_id']}", json={"user": "ada"})
    refused = await posted(chat, chat_body())
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert refused.json()["message"] == "What was sent under this key has been deleted."


@ON_SQLITE
async def test_completions_and_what_is_made_anew_have_keys(server):
    features = {"more_like_this": {"enabled": True}}
    completion = server.client(await server.new_key("completion", configuration=features, tokens=2))
    first, again = [await posted(completion, chat_body(), path="/v1/completion-messages") for _ in range(2)]
    assert first.json() == again.json()
    more = f"/v1/messages/{first.json()['message_id']}/more-like-this"
    params, headers = {"response_mode": "blocking"}, {"Idempotency-Key": "more"}
    other, same = [await completion.get(more, params=params, headers=headers) for _ in range(2)]
    assert other.json()["message_id"] != first.json()["message_id"]
    assert (is_repeat(same), same.json()) == (True, other.json())

    chat = await server.new_client(tokens=2)
    asked = (await posted(chat, chat_body())).json()
    path = f"/v1/messages/{asked['message_id']}/regenerate"
    new, repeated = [await posted(chat, {"user": "ada"}, "anew", path) for _ in range(2)]
    assert new.json()["message_id"] != asked["message_id"]
    assert (is_repeat(repeated), repeated.json()) == (True, new.json())
    assert (await posted(chat, {"user": "ada"}, "once", path)).status_code == 422


@ON_SQLITE
async def test_visitors_have_keys_of_their_own(server):
    app = await server.new_app(configuration={"settings": {"tokens": 2}})
    ada, bob = await server.new_visitor(app.site_code), await server.new_visitor(app.site_code)
    path, body = "/api/chat-messages", {"query": "hello", "inputs": {}, "response_mode": "streaming"}
    first, again, bobs = [await posted(visitor, body, path=path) for visitor in (ada, ada, bob)]
    assert (first.content, is_repeat(again), is_repeat(bobs)) == (again.content, True, False)
    assert events_of(bobs.text)[0]["message_id"] != events_of(first.text)[0]["message_id"]


@ON_SQLITE
async def test_elsewhere_the_header_means_nothing(chat):
    event, reading = await begin(chat, "hello")
    await reading
    useless = {"Idempotency-Key": "two words"}
    rated = await chat.post(
        f"/v1/messages/{event['message_id']}/feedbacks", json={"rating": "like", "user": "ada"}, headers=useless
    )
    assert rated.status_code == 200
    assert (await chat.get("/v1/conversations", params={"user": "ada"}, headers=useless)).status_code == 200


@ON_SQLITE
async def test_a_log_knows_no_key(server, caplog):
    caplog.set_level("DEBUG")
    chat = await server.new_client(tokens=1)
    for query in ("hello", "hello", "hi"):
        await posted(chat, chat_body(query), "a-key-that-nobody-may-see")
    assert "a-key-that-nobody-may-see" not in caplog.text
