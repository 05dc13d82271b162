"""The stream of a conversation: all its messages as they run, from any position on the ledger."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from chatledger.domain.events import ContentRead
from tests.support.databases import ON_SQLITE
from tests.support.server import DEADLINE, LiveServer, a_context, answer_of, chat_body, events_of, frames_of, until

NOWHERE = "01a209cf-b060-723e-b445-678d1e038161"


class Follower:
    """A stream that somebody reads in the background."""

    def __init__(self, response: httpx.Response) -> None:
        self.text = ""
        self.reading = asyncio.create_task(self._read(response))

    async def _read(self, response: httpx.Response) -> str:
        async for chunk in response.aiter_text():
            self.text += chunk
        return self.text

    async def until(self, condition: Callable[[str], bool]) -> str:
        async def holds() -> bool:
            return condition(self.text)

        await until(holds)
        return self.text

    async def to_the_end(self) -> str:
        return await asyncio.wait_for(self.reading, DEADLINE)


@asynccontextmanager
async def following(
    client: httpx.AsyncClient, conversation_id: str, after: str = "", **headers: str
) -> AsyncIterator[Follower]:
    path = f"/v1/conversations/{conversation_id}/stream"
    async with client.stream("GET", path, params={"after": after}, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        follower = Follower(response)
        try:
            yield follower
        finally:
            follower.reading.cancel()


async def shown(client: httpx.AsyncClient, conversation_id: str, length: int, after: str = "", **headers: str) -> str:
    """So many characters of the stream, and whatever came along with them."""
    async with following(client, conversation_id, after, **headers) as follower:
        return await follower.until(lambda text: len(text) >= length)


async def begin(client: httpx.AsyncClient, query: str, conversation: str | None = None) -> dict[str, Any]:
    place = {} if conversation is None else {"conversation_id": conversation}
    response = await client.post("/v1/chat-messages", json=chat_body(query, response_mode="async", **place))
    assert response.status_code == 202, response.text
    accepted: dict[str, Any] = response.json()
    return accepted


def has_ended(count: int) -> Callable[[str], bool]:
    """Whether so many messages have, to the last block."""

    def condition(text: str) -> bool:
        ends = len(re.findall('"event":"(?:message_end|error)"', text))
        return ends == count and frames_of(text)[-1].startswith("id: ") and text.endswith("\n\n")

    return condition


def of_message(text: str, message_id: str) -> list[dict[str, Any]]:
    return [event for event in events_of(text) if event["message_id"] == message_id]


async def test_messages_from_anywhere_are_shown_as_they_run(each_server: LiveServer) -> None:
    chat = await each_server.new_client()
    first = await begin(chat, "/script tokens=10 interval_ms=20")
    conversation = first["conversation_id"]
    async with following(chat, conversation) as one, following(chat, conversation) as other:
        second = await begin(chat, "/script tokens=10 interval_ms=20 text='b '", conversation)
        await one.until(has_ended(2))
        streamed = await chat.post(
            "/v1/chat-messages",
            json=chat_body("/script tokens=3", response_mode="streaming", conversation_id=conversation),
        )
        whole = await one.until(has_ended(3))
        assert await other.until(has_ended(3)) == whole
    assert await shown(chat, conversation, len(whole)) == whole

    third = events_of(streamed.text)
    assert of_message(whole, third[0]["message_id"]) == third
    for message in (first, second):
        alone = (await chat.get(f"/v1/messages/{message['message_id']}/stream")).text
        assert of_message(whole, message["message_id"]) == events_of(alone)
    ids = [int(block[4:]) for block in frames_of(whole) if block.startswith("id: ")]
    assert ids == sorted(set(ids))


async def test_it_goes_on_after_every_id_that_it_gave(server: LiveServer) -> None:
    chat = await server.new_client()
    await begin(chat, "/script tokens=1")
    first = await begin(chat, "/script tokens=5 interval_ms=60 vary_by_attempt=true fail_as=transient fail_times=1")
    conversation = first["conversation_id"]
    async with following(chat, conversation) as follower:
        await begin(chat, "/script tokens=5 interval_ms=60 text='b '", conversation)
        await begin(chat, "/script tokens=2 fail_as=invalid", conversation)
        whole = await follower.until(has_ended(3))

    blocks = frames_of(whole)
    ids = [(number, block[4:]) for number, block in enumerate(blocks) if block.startswith("id: ")]
    assert len(ids) >= 6  # pieces that come together share one
    for number, position in ids:
        rest = "".join(f"{later}\n\n" for later in blocks[number + 1 :])
        assert await shown(chat, conversation, len(rest), position) == rest
        assert await shown(chat, conversation, len(rest), "0", **{"Last-Event-ID": position}) == rest
    # Positions of others: those before this conversation, and the one before its last event.
    assert await shown(chat, conversation, len(whole), "1") == whole
    last = "".join(f"{block}\n\n" for block in blocks[-2:])
    assert await shown(chat, conversation, len(last), str(int(ids[-1][1]) - 1)) == last


@pytest.mark.parametrize("after", ["-1", "x", "1:1", "1.0", "²", "9" * 18, "9" * 5_000])
async def test_a_point_that_is_not_on_the_ledger(server: LiveServer, after: str) -> None:
    chat = await server.new_client()
    path = f"/v1/conversations/{(await begin(chat, '/script tokens=1'))['conversation_id']}/stream"

    beyond = str(await server.head() + 1_000)
    for response, field in (
        (await chat.get(path, params={"after": after}), "after"),
        (await chat.get(path, params={"after": "1"}, headers={"Last-Event-ID": after.encode()}), "Last-Event-ID"),
        (await chat.get(path, params={"after": beyond}), "after"),
        (await chat.get(path, params={"after": "1"}, headers={"Last-Event-ID": beyond}), "Last-Event-ID"),
    ):
        refusal = response.json()
        assert (response.status_code, refusal["code"], refusal["params"]) == (400, "invalid_param", field)


async def test_nothing_is_shown_of_the_conversation_itself(server: LiveServer) -> None:
    chat = await server.new_client()
    conversation = (await begin(chat, "/script tokens=1"))["conversation_id"]
    async with following(chat, conversation) as follower:
        before = await follower.until(has_ended(1))
        renamed = await chat.post(f"/v1/conversations/{conversation}/name", json={"name": "Another", "user": "ada"})
        assert renamed.status_code == 200
        message_id = events_of(before)[0]["message_id"]
        await chat.post(f"/v1/messages/{message_id}/feedbacks", json={"rating": "like", "user": "ada"})
        await begin(chat, "/script tokens=1", conversation)
        whole = await follower.until(has_ended(2))
    assert whole.startswith(before)
    assert {event["event"] for event in events_of(whole)} == {"message", "message_end"}


async def test_a_deleted_conversation_ends_the_stream_without_another_frame(each_server: LiveServer) -> None:
    chat = await each_server.new_client()
    message = await begin(chat, "/script tokens=2 interval_ms=60000")
    conversation = message["conversation_id"]
    path = f"/v1/messages/{message['message_id']}/stream"
    async with following(chat, conversation) as running:
        before = await running.until(lambda text: "id: " in text)
        alone = asyncio.create_task(chat.get(path))

        async def is_followed() -> bool:
            return bool(each_server.running.application.following._tail._held)

        await until(is_followed)
        deleted = await chat.request("DELETE", f"/v1/conversations/{conversation}", json={"user": "ada"})
        assert deleted.status_code == 204
        assert await running.to_the_end() == before
    # The answer under way is stopped: who follows the message itself sees that.
    assert events_of((await asyncio.wait_for(alone, DEADLINE)).text)[-1]["metadata"]["status"] == "stopped"
    assert (await chat.get(f"/v1/conversations/{conversation}/stream")).status_code == 404


async def test_the_way_down(serve) -> None:
    async with serve() as server:
        chat = await server.new_client()
        conversation = (await begin(chat, "/script tokens=2 interval_ms=60000"))["conversation_id"]
        async with following(chat, conversation) as follower:
            await follower.until(lambda text: "id: " in text)
            server.shutdown.draining.set()
            await follower.until(lambda text: "retry: 1000\n\n" in text)
            assert not follower.reading.done()
            server.running.application.following.close()
            text = await follower.to_the_end()
            refused = await chat.get(f"/v1/conversations/{conversation}/stream")
            assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
        assert text.count("retry: 1000\n\n") == 1
        assert [event["event"] for event in events_of(text)] == ["message"]


async def test_who_may_read_it(server: LiveServer) -> None:
    app = await server.new_app(configuration={"settings": {"tokens": 1}})
    chat, other = server.client(app.api_key), await server.new_client()
    operator = server.client(await server.new_token("audit"))
    conversation = (await begin(chat, "hello"))["conversation_id"]
    async with following(chat, conversation) as follower:
        whole = await follower.until(has_ended(1))

    async with chat.stream("GET", f"/v1/conversations/{conversation}/stream", params={"user": "ada"}) as response:
        assert response.status_code == 200
    assert await shown(operator, conversation, len(whole)) == whole
    for reader, query in ((chat, {"user": "bob"}), (other, {}), (other, {"user": "ada"})):
        refused = await reader.get(f"/v1/conversations/{conversation}/stream", params=query)
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert (await server.client().get(f"/v1/conversations/{conversation}/stream")).status_code == 401
    assert (await operator.get(f"/v1/conversations/{NOWHERE}/stream")).status_code == 404


async def test_a_visitor_reads_their_own_at_the_other_entrance(server: LiveServer) -> None:
    app = await server.new_app(configuration={"settings": {"tokens": 2}})
    ada, bob = [await server.new_visitor(app.site_code) for _ in range(2)]
    asked = (
        await ada.post("/api/chat-messages", json={"inputs": {}, "query": "hello", "response_mode": "blocking"})
    ).json()
    path = f"/api/conversations/{asked['conversation_id']}/stream"

    async with ada.stream("GET", path) as response:
        assert answer_of(events_of(await Follower(response).until(has_ended(1)))) == asked["answer"]
    assert (await bob.get(path)).status_code == 404


async def test_a_completion_has_no_conversation_to_follow(server: LiveServer) -> None:
    texts = await server.new_client("completion", tokens=1)
    sent = await texts.post("/v1/completion-messages", json=chat_body(response_mode="async"))
    refused = await texts.get(f"/v1/conversations/{sent.json()['conversation_id']}/stream")
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


@ON_SQLITE
async def test_what_an_operator_follows_is_on_record_each_hour_and_ends_with_the_token(server, monkeypatch):
    application = server.running.application
    issued = await application.operators.issue("Eve", ["audit"], a_context())
    eve, chat = server.client(issued.token), await server.new_client(tokens=1)
    first = (await chat.post("/v1/chat-messages", json=chat_body())).json()
    conversation = first["conversation_id"]
    running = chat_body("/script tokens=3 interval_ms=3600000", response_mode="async", conversation_id=conversation)

    async def reads() -> list[str]:
        facts, _ = await application.facts.stream(issued.operator_id, 1, 100)
        return [str(fact.envelope.body.subject_id) for fact in facts if isinstance(fact.envelope.body, ContentRead)]

    async with following(eve, conversation) as follower:
        await follower.until(lambda text: "message_end" in text)
        assert await reads() == [conversation]
        an_hour_later = SimpleNamespace(now=lambda: datetime.now(UTC) + timedelta(hours=1))
        monkeypatch.setattr(application.reads, "_clock", an_hour_later)
        message = (await chat.post("/v1/chat-messages", json=running)).json()["message_id"]
        await follower.until(lambda text: message in text)
        assert await reads() == [conversation] * 2

        feed = {"Accept": "text/event-stream"}
        paths = "/v1/events", f"/v1/messages/{message}/stream"
        others = asyncio.gather(*(eve.get(path, headers=feed) for path in paths))
        await until(lambda: _has_read(reads, message))
        await application.operators.revoke(issued.operator_id, a_context())
        ended = [await follower.to_the_end(), *(one.text for one in await asyncio.wait_for(others, DEADLINE))]
    assert [text.endswith("retry: 1000\n\n") for text in ended] == [True] * 3
    assert (await eve.get(f"/v1/conversations/{conversation}/stream")).status_code == 401


async def _has_read(reads: Callable[[], Awaitable[list[str]]], subject: str) -> bool:
    found = await reads()
    return subject in found and "None" in found
