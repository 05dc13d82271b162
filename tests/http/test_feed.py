"""The change feed over HTTP: complete, in order, each reader's own, from any place on, and on as events land."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cloudevents.core.formats.json import JSONFormat

from chatledger.application.cloud_events import BATCH_MEDIA_TYPE
from chatledger.application.queries.feed import ROWS_AT_ONCE
from tests.support.server import DEADLINE, LiveServer, chat_body, until
from tests.support.unknown_events import append_unknown

FOLLOWERS = 20
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
async def auditor(server: LiveServer) -> httpx.AsyncClient:
    return server.client(await server.new_token("audit"))


async def ask(client: httpx.AsyncClient, query: str = "hello") -> dict[str, Any]:
    response = await client.post("/v1/chat-messages", json=chat_body(query))
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def page(client: httpx.AsyncClient, **params: Any) -> dict[str, Any]:
    response = await client.get("/v1/events", params=params)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def everything(client: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    has_more = True
    while has_more:
        found = await page(client, **params)
        events += found["data"]
        has_more, params["after"] = found["has_more"], found["cursor"]
    return events


def positions(events: Sequence[dict[str, Any]]) -> list[int]:
    return [int(event["sequence"]) for event in events]


def names(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("chatledger.") for event in events]


class Following:
    """A client of the stream: what it was given, by id."""

    def __init__(self, client: httpx.AsyncClient, **params: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.last_id = ""
        self._client = client
        self._params = params

    async def until(self, count: int) -> None:
        """Follow from where it stands until so many events have come in all."""
        headers = STREAM | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        async with (
            asyncio.timeout(DEADLINE),
            self._client.stream("GET", "/v1/events", params=self._params, headers=headers) as response,
        ):
            assert response.headers["content-type"].startswith("text/event-stream")
            async for block in self._blocks(response.aiter_text()):
                for line in block.split("\n"):
                    name, _, value = line.partition(": ")
                    if name == "id":
                        self.last_id = value
                    elif name == "data":
                        self.events.append(json.loads(value))
                if len(self.events) >= count:
                    return

    @staticmethod
    async def _blocks(texts: AsyncIterator[str]) -> AsyncIterator[str]:
        held = ""
        async for text in texts:
            *blocks, held = (held + text).split("\n\n")
            for block in blocks:
                yield block


async def test_an_operator_reads_every_event_once_in_order(server, auditor):
    await ask(await server.new_client(tokens=3))
    head = await server.head()
    events = await everything(auditor, limit=7)
    assert positions(events)[:head] == list(range(1, head + 1))


async def test_each_event_is_a_cloud_event_to_the_makers_of_the_specification(server, auditor):
    await ask(await server.new_client(tokens=1))
    for event in await everything(auditor, limit=100):
        read = JSONFormat().read(None, json.dumps(event).encode())
        assert (read.get_specversion(), read.get_datacontenttype()) == ("1.0", "application/json")
        assert read.get_type().startswith("chatledger.")
        assert read.get_time().tzinfo is not None
        assert read.get_data() == event["data"]
        assert UUID(read.get_id()).version == 7


async def test_an_apps_key_reads_its_own_app_and_nothing_of_others_or_of_the_server(server, auditor):
    before = (await page(auditor, after="now"))["cursor"]
    mine, other = await server.new_app(tokens=1), await server.new_app(tokens=1)
    answer = await ask(server.client(mine.api_key), "mine")
    await ask(server.client(other.api_key), "another's")
    await server.new_token("operate")

    seen = await everything(server.client(mine.api_key), after=before)
    assert {event["appid"] for event in seen} == {str(mine.app_id)}
    assert {event["category"] for event in seen} == {"app", "end_user", "conversation", "message"}
    everyones = await everything(auditor, after=before)
    assert seen_ids(seen) == [event["id"] for event in everyones if event.get("appid") == str(mine.app_id)]
    assert "operator" in {event["category"] for event in everyones}
    created = next(event for event in seen if event["type"] == "chatledger.MessageCreated")
    assert (created["subject"], created["data"]["query"]) == (answer["message_id"], "mine")


def seen_ids(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["id"] for event in events]


async def test_an_apps_key_is_not_shown_what_is_its_operators(server, auditor):
    before = (await page(auditor, after="now"))["cursor"]
    app = await server.new_app(tokens=1)
    await ask(server.client(app.api_key))
    for hidden, name in (
        ("parameters", "MessageCreated"),
        ("configuration", "AppConfigured"),
        ("key_hash", "ApiKeyIssued"),
        ("lookup", "EndUserSeen"),
    ):
        for client, is_shown in ((server.client(app.api_key), False), (auditor, True)):
            (event,) = await everything(client, after=before, types=name)
            assert (hidden in event["data"]) == is_shown, name


async def test_who_may_not_read_it(server):
    operating = server.client(await server.new_token("operate", "erase"))
    assert (await operating.get("/v1/events")).json()["code"] == "forbidden"
    assert (await server.client().get("/v1/events")).status_code == 401
    chat = await server.new_client()
    other = await server.new_app()
    assert (await chat.get("/v1/events", params={"app_id": str(other.app_id)})).status_code == 404


async def test_types_and_app_choose_and_the_cursor_goes_on_past_the_rest(server, auditor):
    before = (await page(auditor, after="now"))["cursor"]
    app = await server.new_app(tokens=5)
    chat = server.client(app.api_key)
    for _ in range(3):
        await ask(chat)
        await ask(await server.new_client(tokens=1))
    wanted = {"app_id": str(app.app_id), "types": "MessageCreated,MessageCompleted"}
    assert names(await everything(auditor, after=before, **wanted)) == ["MessageCreated", "MessageCompleted"] * 3
    assert (
        names(await everything(auditor, after=before, limit=1, **wanted))
        == [
            "MessageCreated",
            "MessageCompleted",
        ]
        * 3
    )
    nothing = await page(auditor, after=before, types="AppDeleted")
    assert (nothing["data"], nothing["has_more"]) == ([], False)
    assert await everything(auditor, after=nothing["cursor"]) == []


async def test_no_request_looks_at_more_than_a_bounded_part(server, auditor):
    before = (await page(auditor, after="now"))["cursor"]
    chat = await server.new_client(tokens=1)
    while await server.head() - await _position(server, before) <= ROWS_AT_ONCE:
        await asyncio.gather(*(ask(chat, f"one of many {number}") for number in range(20)))
    first = await page(auditor, after=before, types="AppDeleted")
    assert (first["data"], first["has_more"]) == ([], True)
    assert await _position(server, first["cursor"]) == await _position(server, before) + ROWS_AT_ONCE


async def _position(server: LiveServer, cursor: str) -> int:
    return await server.running.application.feed.place(cursor)


async def test_cursors_of_other_ledgers_are_refused_by_name(server, auditor):
    own, other = await server.running.store.incarnation(), uuid4()
    foreign = base64.urlsafe_b64encode(other.bytes + bytes(8)).decode()
    beyond = base64.urlsafe_b64encode(own.bytes + (2**62).to_bytes(8, "big")).decode()
    for after, reason in (
        (foreign, str(other)),
        (beyond, "beyond"),
        ("7", "cursor"),
        (foreign[:-4], "cursor"),
        ("ä", "cursor"),
    ):
        for headers, params in (({}, {"after": after}), (STREAM, {"after": after})):
            refused = await auditor.get("/v1/events", params=params, headers=headers)
            assert (refused.status_code, refused.json()["params"]) == (400, "after")
            assert reason in refused.json()["message"]
    refused = await auditor.get("/v1/events", headers=STREAM | {"Last-Event-ID": foreign})
    assert (refused.status_code, refused.json()["params"]) == (400, "Last-Event-ID")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"types": "NoSuchEvent"}, "types"),
        ({"types": "MessageCreated,"}, "types"),
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"app_id": "7"}, "app_id"),
        ({"user": "ada"}, "user"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(auditor, params, field):
    refused = await auditor.get("/v1/events", params=params)
    assert (refused.status_code, refused.json()["code"], refused.json()["params"]) == (400, "invalid_param", field)


async def test_a_stream_takes_no_limit(auditor):
    refused = await auditor.get("/v1/events", params={"limit": "5"}, headers=STREAM)
    assert (refused.status_code, refused.json()["params"]) == (400, "limit")


async def test_a_batch_is_an_array_and_its_link_leads_on(server, auditor):
    before = (await page(auditor, after="now"))["cursor"]
    await ask(await server.new_client(tokens=1))
    wanted = await everything(auditor, after=before, types="AppCreated,MessageCompleted")
    target, found = "/v1/events", []
    params: dict[str, str] | None = {"after": before, "types": "AppCreated,MessageCompleted", "limit": "1"}
    for _ in range(len(wanted)):
        response = await auditor.get(target, params=params, headers={"Accept": BATCH_MEDIA_TYPE})
        assert response.headers["content-type"] == BATCH_MEDIA_TYPE
        assert (await page(auditor, after=response.headers["x-cursor"]))["cursor"]
        found += response.json()
        target, params = response.links["next"]["url"], None
    assert found == wanted
    assert response.headers["x-has-more"] == "false"


async def test_a_stream_goes_on_as_events_land_and_after_a_lost_connection(server, auditor):
    before = (await page(auditor, after="now"))["cursor"]
    app = await server.new_app(tokens=2)
    chat = server.client(app.api_key)
    following = Following(auditor, after=before, app_id=str(app.app_id))
    await following.until(4)
    reading = asyncio.create_task(following.until(8))
    await ask(chat)
    await reading
    await ask(chat)
    expected = await everything(auditor, after=before, app_id=str(app.app_id))
    await following.until(len(expected))
    assert seen_ids(following.events) == seen_ids(expected)
    assert following.events == expected


async def test_what_is_not_wanted_moves_a_stream_on_all_the_same(server, auditor):
    before = (await page(auditor, after="now"))["cursor"]
    following = Following(auditor, after=before, types="AppDeleted")
    await ask(await server.new_client(tokens=1))
    head = await server.head()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await following.until(1)
    assert not following.events
    assert await _position(server, following.last_id) >= head


async def _wait(server: LiveServer, followers: int) -> bool:
    return server.running.application.feed._waiting >= followers


async def test_followers_share_what_they_read_and_idle_ones_read_nothing(server, auditor, monkeypatch):
    asked = []
    read = server.running.store.log

    async def counted(decode: Any, **place: int) -> Any:
        asked.append(place["after"])
        return await read(decode, **place)

    monkeypatch.setattr(server.running.store, "log", counted)
    await page(auditor)  # that an operator reads is news itself, once an hour
    before = (await page(auditor, after="now"))["cursor"]
    chat = await server.new_client(tokens=1)
    following = [Following(auditor, after=before) for _ in range(FOLLOWERS)]
    tasks = [asyncio.create_task(one.until(10)) for one in following]
    await until(partial(_wait, server, FOLLOWERS))
    asked.clear()
    await asyncio.sleep(0.3)
    assert not asked
    await ask(chat)
    await asyncio.gather(*tasks)
    assert len({tuple(seen_ids(one.events[:10])) for one in following}) == 1
    assert len(asked) < FOLLOWERS


async def test_of_what_was_erased_the_public_part_is_there_and_marked(server, auditor):
    before = (await page(auditor, after="now"))["cursor"]
    chat = await server.new_client(tokens=2)
    answer = await ask(chat, "what was said in confidence")
    keyring = server.running.ledger.keyring
    key_id = (await server.running.ledger.stream_head(UUID(answer["message_id"]))).key_id
    keyring.destroy([key_id])
    for client in (chat, auditor):
        events = [event for event in await everything(client, after=before) if event["category"] == "message"]
        assert {"MessageCreated", "AnswerChunkAppended", "MessageCompleted"} <= set(names(events))
        erased = {name for name, event in zip(names(events), events, strict=True) if event.get("erased")}
        assert erased == {"MessageCreated", "AnswerChunkAppended"}
        assert "confidence" not in json.dumps(events)
        created = events[0]["data"]
        assert created["conversation_id"] == answer["conversation_id"]
        assert "query" not in created


async def test_an_event_that_cannot_be_read_is_marked_and_in_nobodys_way(serve):
    async with serve() as server:
        mine, other = await server.new_app(tokens=1), await server.new_app(tokens=1)
        answer = await ask(server.client(other.api_key))
        unknown = await append_unknown(server.running, UUID(answer["message_id"]))
        await ask(server.client(mine.api_key))

        assert "MessageCompleted" in names(await everything(server.client(mine.api_key)))
        auditor = server.client(await server.new_token("audit"))
        for client in (server.client(other.api_key), auditor):
            events = await everything(client, app_id=str(other.app_id), limit=2)
            assert positions(events) == sorted(set(positions(events)))
            (marked,) = [event for event in events if event.get("unreadable")]
            assert events[-1] == marked
            assert (marked["id"], marked["type"]) == (str(unknown.event_id), "chatledger.NotYetInvented")
            assert marked.keys().isdisjoint({"data", "actorkind", "correlationid"})
            following = Following(client, app_id=str(other.app_id))
            await following.until(len(events))
            assert following.events == events


async def test_where_nothing_follows_a_full_page_has_no_more(server, auditor):
    await page(auditor)  # that an operator reads is news itself, once an hour
    before = (await page(auditor, after="now"))["cursor"]
    await server.new_app(tokens=1)
    count = len(await everything(auditor, after=before))
    for limit, has_more in ((count - 1, True), (count, False)):
        found = await page(auditor, after=before, limit=limit)
        assert (len(found["data"]), found["has_more"]) == (limit, has_more)


async def test_followers_end_where_the_server_drains(tmp_path, serve):
    async with serve() as server:
        auditor = server.client(await server.new_token("audit"))
        following = asyncio.create_task(Following(auditor).until(1_000))
        await until(partial(_wait, server, 1))
        server.shutdown.draining.set()
        server.running.application.following.close()
        async with asyncio.timeout(DEADLINE):
            await following
