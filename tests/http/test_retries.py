"""A provider that fails, as whoever asked through us sees it."""

import asyncio
import email.utils
import socket
import time
from datetime import datetime
from typing import Any

import httpx
import pytest

from chatledger.adapters.http.settings import HttpSettings
from tests.support.databases import ON_SQLITE
from tests.support.fake_openai import Cut, FakeOpenAI, Refusal, Stream, answer, token
from tests.support.server import answer_of, chat_body, events_of, until

SAID = ("So ", "it ", "is.")


@pytest.fixture
async def provider():
    async with FakeOpenAI() as running:
        yield running


async def asker(server, base_url) -> httpx.AsyncClient:
    """A client whose app asks there."""
    settings = {"model": "m", "base_url": base_url}
    return server.client(await server.new_key(configuration={"generator": "openai_compatible", "settings": settings}))


def body(response_mode: str) -> dict[str, Any]:
    """A question whose conversation is named by nobody: that would ask the provider too."""
    return chat_body(response_mode=response_mode, auto_generate_name=False)


async def streamed(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    response = await client.post("/v1/chat-messages", json=body("streaming"))
    return events_of(response.text)


async def requeues(client: httpx.AsyncClient, message_id: str) -> list[dict[str, Any]]:
    page = (await client.get(f"/v1/messages/{message_id}/events", params={"limit": 100})).json()
    return [event for event in page["data"] if event["type"] == "GenerationRequeued"]


def in_one_second() -> str:
    return email.utils.formatdate(time.time() + 1, usegmt=True)


@ON_SQLITE
@pytest.mark.parametrize(
    "failure",
    [
        lambda: Refusal(429, {"error": {"message": "slowly"}}, {"Retry-After": "0"}),
        lambda: Refusal(429, {"error": {"message": "slowly"}}, {"Retry-After": in_one_second()}),
        lambda: Refusal(503, {"error": {"message": "busy"}}),
        lambda: Stream([Cut()]),
        lambda: Stream([token("", role="assistant"), Cut()]),
    ],
    ids=["429-seconds", "429-date", "503", "cut", "cut-before-the-first-token"],
)
async def test_what_may_pass_is_asked_again_and_nobody_notices(server, provider, failure):
    provider.then(failure(), answer(*SAID))
    client = await asker(server, provider.base_url)
    events = await streamed(client)
    assert answer_of(events) == "".join(SAID)
    assert {event["event"] for event in events} == {"message", "message_end"}
    assert events[-1]["event"] == "message_end"
    assert len(provider.requests) == 2
    (requeued,) = await requeues(client, events[0]["message_id"])
    assert requeued["data"]["cause"] == "completion_request_error"


@ON_SQLITE
async def test_the_wait_that_a_provider_asks_for_is_on_record(server, provider):
    provider.then(Refusal(429, {"error": {"message": "slowly"}}, {"Retry-After": "600"}))
    client = await asker(server, provider.base_url)
    sent = (await client.post("/v1/chat-messages", json=body("async"))).json()

    async def retrying():
        return (await client.get(f"/v1/tasks/{sent['task_id']}")).json()["status"] == "retrying"

    await until(retrying)
    (requeued,) = await requeues(client, sent["message_id"])
    wait = datetime.fromisoformat(requeued["data"]["not_before"]) - datetime.fromisoformat(requeued["at"])
    assert 590 < wait.total_seconds() <= 600
    assert requeued["data"]["detail"] == "slowly"
    await client.post(f"/v1/chat-messages/{sent['task_id']}/stop", json={"user": "ada"})


@ON_SQLITE
async def test_a_provider_that_is_not_there_is_asked_as_often_as_may_be(serve):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        async with serve(first_retry_delay=0.01, attempts=2) as server:
            client = await asker(server, base_url)
            events = await streamed(client)
            assert [event["event"] for event in events] == ["error"]
            assert events[0]["code"] == "completion_request_error"
            operator = server.client(await server.new_token("operate"))
            shown = (await operator.get(f"/v1/admin/dead-letters/{events[0]['message_id']}")).json()
    assert shown["error"]["message"] == "The connection to the provider failed."
    assert [past["outcome"] for past in shown["history"]] == ["failed", "failed"]


@ON_SQLITE
async def test_what_breaks_after_the_first_token_is_kept_and_not_asked_again(server, provider):
    provider.then(Stream([token("", role="assistant"), *(token(text) for text in SAID[:2]), Cut()]))
    client = await asker(server, provider.base_url)
    events = await streamed(client)
    assert (answer_of(events), events[-1]["event"]) == ("So it ", "error")
    message = (await client.get(f"/v1/messages/{events[0]['message_id']}")).json()
    assert (message["answer"], message["status"]) == ("So it ", "error")
    assert len(provider.requests) == 1


@ON_SQLITE
async def test_while_a_retry_waits_the_stream_stays_open_and_a_stop_ends_it(serve, provider):
    provider.then(Refusal(429, {"error": {"message": "slowly"}}, {"Retry-After": "600"}))
    async with serve(http=HttpSettings(ping_seconds=0.05)) as server:
        client = await asker(server, provider.base_url)
        asked = client.stream("POST", "/v1/chat-messages", json=body("streaming"))
        async with asyncio.timeout(20), asked as response:
            lines = response.aiter_lines()
            pings = 0
            while pings < 3:
                pings += await anext(lines) == "event: ping"
            operator = server.client(await server.new_token("audit"))
            (conversation,) = (await client.get("/v1/conversations", params={"user": "ada"})).json()["data"]
            messages = await client.get("/v1/messages", params={"conversation_id": conversation["id"]})
            events = (await operator.get(f"/v1/messages/{messages.json()['data'][0]['id']}/events")).json()["data"]
            task_id = events[0]["data"]["task_id"]

            async def retrying():
                return (await operator.get(f"/v1/tasks/{task_id}")).json()["status"] == "retrying"

            await until(retrying)
            await client.post(f"/v1/chat-messages/{task_id}/stop", json={"user": "ada"})
            rest = [line async for line in lines]
        assert any('"message_end"' in line for line in rest)
        assert (await operator.get(f"/v1/tasks/{task_id}")).json()["status"] == "stopped"
    assert len(provider.requests) == 1
