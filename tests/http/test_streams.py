"""The resumable stream of a message, and ids on the streams of Dify where a client asks for them."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from tests.support.server import LiveServer, answer_of, chat_body, events_of, frames_of, until

TEN_TOKENS = "".join(f"t{number} " for number in range(10))


@pytest.fixture
async def chat(server: LiveServer) -> httpx.AsyncClient:
    return await server.new_client(tokens=10)


async def begin(client: httpx.AsyncClient, query: str = "hello") -> dict[str, Any]:
    response = await client.post("/v1/chat-messages", json=chat_body(query, response_mode="async"))
    assert response.status_code == 202
    accepted: dict[str, Any] = response.json()
    return accepted


async def follow(client: httpx.AsyncClient, message_id: str, after: str = "", **headers: str) -> str:
    response = await client.get(f"/v1/messages/{message_id}/stream", params={"after": after}, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    return response.text


async def test_a_running_and_a_finished_message_give_the_same_bytes(each_server):
    chat = await each_server.new_client()
    message = await begin(chat, "/script tokens=10 interval_ms=20")

    live = await asyncio.gather(*(follow(chat, message["message_id"]) for _ in range(3)))
    replay = await follow(chat, message["message_id"])

    assert set(live) == {replay}
    assert answer_of(events_of(replay)) == TEN_TOKENS
    assert events_of(replay)[-1]["event"] == "message_end"


async def test_a_stream_goes_on_after_every_id_that_it_gave(chat):
    message_id = (await begin(chat, "/script tokens=10 interval_ms=60"))["message_id"]
    whole = await follow(chat, message_id)

    blocks = frames_of(whole)
    assert sum(block.startswith("id: ") for block in blocks) > 5
    for number, block in enumerate(blocks):
        if block.startswith("id: "):
            rest = "".join(f"{later}\n\n" for later in blocks[number + 1 :])
            event_id = block.removeprefix("id: ")
            assert await follow(chat, message_id, event_id) == rest
            assert await follow(chat, message_id, event_id.partition(":")[2]) == rest
            assert await follow(chat, message_id, "0", **{"Last-Event-ID": event_id}) == rest


async def test_a_stream_resumed_while_it_runs_misses_nothing_and_repeats_nothing(each_server):
    chat = await each_server.new_client()
    message_id = (await begin(chat, "/script tokens=10 interval_ms=60"))["message_id"]
    seen, last_id = "", ""
    for _ in range(3):
        async with chat.stream("GET", f"/v1/messages/{message_id}/stream", params={"after": last_id}) as response:
            text = ""
            async for chunk in response.aiter_text():
                text += chunk
                if "\n\nid: " in text and text.endswith("\n\n"):
                    break
        seen += text
        last_id = frames_of(text)[-1].removeprefix("id: ")

    seen += await follow(chat, message_id, last_id)

    assert answer_of(events_of(seen)) == TEN_TOKENS
    assert seen == await follow(chat, message_id)


@pytest.mark.parametrize(
    "after", ["1000", "-1", "x", "1:", ":1", "01a209cf-b060-723e-b445-678d1e038161:1", "1.0", "²", "9" * 5_000]
)
async def test_a_point_that_the_stream_does_not_have(chat, after):
    path = f"/v1/messages/{(await begin(chat))['message_id']}/stream"
    for response, field in (
        (await chat.get(path, params={"after": after}), "after"),
        (await chat.get(path, params={"after": "1"}, headers={"Last-Event-ID": after.encode()}), "Last-Event-ID"),
    ):
        refusal = response.json()
        assert (response.status_code, refusal["code"], refusal["params"]) == (400, "invalid_param", field)


async def test_after_the_end_there_is_nothing(chat):
    answer = (await chat.post("/v1/chat-messages", json=chat_body())).json()
    version = (await chat.get(f"/v1/messages/{answer['id']}")).json()["version"]
    await chat.post(f"/v1/messages/{answer['id']}/feedbacks", json={"rating": "like"})

    assert await follow(chat, answer["id"], str(version)) == ""
    assert await follow(chat, answer["id"], str(version + 1)) == ""


async def test_a_dropped_attempt_is_replaced_the_same_way_each_time(chat):
    query = "/script tokens=10 vary_by_attempt=true fail_as=transient fail_times=1"
    message_id = (await begin(chat, query))["message_id"]

    first, second = await follow(chat, message_id), await follow(chat, message_id)

    assert first == second
    assert answer_of(events_of(first)) == "".join(f"a2t{number} " for number in range(10))


@pytest.mark.parametrize(("header", "has_ids"), [("1", True), ("0", False), (None, False)])
async def test_ids_on_a_dify_stream_only_where_asked_for(chat, header, has_ids):
    headers = {} if header is None else {"X-Stream-Ids": header}
    response = await chat.post("/v1/chat-messages", json=chat_body(response_mode="streaming"), headers=headers)

    blocks = frames_of(response.text)
    assert any(block.startswith("id: ") for block in blocks) == has_ids
    assert all(block.startswith(("data: {", "id: ")) and "\n" not in block for block in blocks)
    if has_ids:
        message_id = events_of(response.text)[0]["message_id"]
        assert response.text == await follow(chat, message_id)


async def test_a_stream_that_nobody_reads_is_let_go(each_server):
    chat = await each_server.new_client()
    message_id = (await begin(chat, "/script tokens=2 interval_ms=60000"))["message_id"]
    tail = each_server.running.application.following._tail

    async with chat.stream("GET", f"/v1/messages/{message_id}/stream") as response:
        await anext(response.aiter_text())
        assert uuid.UUID(message_id) in tail._held

    async def is_let_go() -> bool:
        return uuid.UUID(message_id) not in tail._held

    await until(is_let_go)


async def test_the_headers_come_though_the_first_token_does_not(each_server):
    chat = await each_server.new_client()
    body = chat_body("/script first_token_ms=60000", response_mode="streaming")

    async with asyncio.timeout(5), chat.stream("POST", "/v1/chat-messages", json=body) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_a_store_in_trouble_ends_a_stream_without_a_terminal_event(server, chat):
    accepted = await begin(chat, "/script tokens=2 interval_ms=60000")
    message_id = accepted["message_id"]

    async with chat.stream("GET", f"/v1/messages/{message_id}/stream") as response:
        chunks = response.aiter_text()
        text = await anext(chunks)
        with server.unreadable():
            text += "".join([chunk async for chunk in chunks])

    assert {event["event"] for event in events_of(text)} == {"message"}
    await chat.post(f"/v1/chat-messages/{accepted['task_id']}/stop", json={"user": "ada"})
    blocks = frames_of(text)
    last = next(block for block in reversed(blocks) if block.startswith("id: "))
    rest = await follow(chat, message_id, last.removeprefix("id: "))
    assert events_of(rest)[-1]["event"] == "message_end"
    assert [*blocks, *frames_of(rest)] == frames_of(await follow(chat, message_id))
