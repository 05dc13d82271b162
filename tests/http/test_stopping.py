"""Stopping over HTTP, from another connection: at every moment of an answer's life, and at every offset of one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest

from chatledger.application.commands.managing_apps import CreatedApp
from chatledger.domain.message import Message
from chatledger.embedding.access import Access
from chatledger.embedding.chatledger import Chatledger
from tests.support.databases import NewLedger, settings_of
from tests.support.fake_openai import FakeOpenAI, Stall, Stream
from tests.support.paced import WORDS, Paced, words
from tests.support.server import DEADLINE, LiveServer, a_context, answer_of, chat_body, events_of, live_server, until

ENDLESS = "/script tokens=2 interval_ms=3600000"
SILENT = "/script first_token_ms=3600000"
AVOIDANCE = {
    "sensitive_word_avoidance": {
        "enabled": True,
        "type": "openai_moderation",
        "inputs_config": {"enabled": True, "preset_response": "No."},
    }
}


class Place:
    """A server, its only place for a generation, and the provider of its verdicts."""

    def __init__(self, server: LiveServer, provider: FakeOpenAI) -> None:
        self.server = server
        self.provider = provider
        self.host = Chatledger(Access(server.running.application), server.running)

    async def events(self, message_id: str) -> list[Any]:
        return [envelope.body for envelope in await self.server.running.ledger.read(UUID(message_id))]

    async def names(self, message_id: str) -> list[str]:
        return [type(body).__name__ for body in await self.events(message_id)]

    async def has(self, message_id: str, name: str, count: int = 1) -> None:
        async def is_so() -> bool:
            return (await self.names(message_id)).count(name) >= count

        await until(is_so)


@pytest.fixture(scope="module")
async def place(new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """Has room for one generation at a time, and puts nothing back for less than an hour."""
    delays = {"first_retry_delay": 3600, "longest_retry_delay": 3600}
    async with FakeOpenAI() as provider:
        provider.always("/moderations", lambda _: Stream([Stall()]))
        settings = {"openai_base_url": provider.base_url, "worker_concurrency": 1, **delays}
        with new_ledger() as url:
            folder = tmp_path_factory.mktemp("stopping") / "data"
            async with live_server(folder, **settings_of(url), **settings) as server:
                yield Place(server, provider)


class Sender:
    """Who asks, follows the answer, and may stop it by one of the ways that there are."""

    def __init__(self, place: Place, app: CreatedApp, prefix: str, client: httpx.AsyncClient) -> None:
        self._place = place
        self._app = app
        self._prefix = prefix
        self._client = client

    async def send(self, query: str) -> dict[str, str]:
        body = chat_body(query, response_mode="async", auto_generate_name=False)
        sent = await self._client.post(f"{self._prefix}/chat-messages", json=body)
        assert sent.status_code == 202, sent.text
        accepted: dict[str, str] = sent.json()
        return accepted

    async def follow(self, sent: dict[str, str]) -> list[dict[str, Any]]:
        response = await self._client.get(f"{self._prefix}/messages/{sent['message_id']}/stream")
        return events_of(response.text)

    async def stop(self, sent: dict[str, str]) -> None:
        path = f"{self._prefix}/chat-messages/{sent['task_id']}/stop"
        stopped = await self._client.post(path, json={"user": "ada"})
        assert (stopped.status_code, stopped.json()) == (200, {"result": "success"})


class Host(Sender):
    async def stop(self, sent: dict[str, str]) -> None:
        await self._place.host.tasks.stop(self._app.app_id, UUID(sent["task_id"]), user="ada")


async def by_key(place: Place, app: CreatedApp) -> Sender:
    return Sender(place, app, "/v1", place.server.client(app.api_key))


async def by_passport(place: Place, app: CreatedApp) -> Sender:
    return Sender(place, app, "/api", await place.server.new_visitor(app.site_code))


async def by_the_host(place: Place, app: CreatedApp) -> Sender:
    return Host(place, app, "/v1", place.server.client(app.api_key))


# The moments: each sends a message, brings it there, and lets what is in the way go at the end.

Sent = dict[str, str]
Moment = Callable[[Place, Sender], Any]


@asynccontextmanager
async def queued(place: Place, sender: Sender) -> AsyncIterator[Sent]:
    before_it = await sender.send(ENDLESS)
    await place.has(before_it["message_id"], "AnswerChunkAppended")
    try:
        yield await sender.send(ENDLESS)
    finally:
        await sender.stop(before_it)
        await place.has(before_it["message_id"], "MessageStopped")


@asynccontextmanager
async def left_by_a_dead_worker(place: Place, sender: Sender) -> AsyncIterator[Sent]:
    async with queued(place, sender) as sent:

        def half_an_answer(staged: Any) -> None:
            staged.aggregate.append_chunk(staged.aggregate.start_attempt("dead"), "so ")

        await place.server.running.ledger.decide(Message, UUID(sent["message_id"]), half_an_answer, a_context())
        yield sent


def when(query: str, event: str, count: int = 1) -> Moment:
    @asynccontextmanager
    async def come(place: Place, sender: Sender) -> AsyncIterator[Sent]:
        sent = await sender.send(query)
        await place.has(sent["message_id"], event, count)
        yield sent

    return come


@asynccontextmanager
async def while_a_verdict_is_awaited(place: Place, sender: Sender) -> AsyncIterator[Sent]:
    asked = len(place.provider.requests)
    sent = await sender.send(ENDLESS)
    received = await place.provider.asked(asked + 1, within=DEADLINE)
    yield sent
    await asyncio.wait_for(received.closed.wait(), DEADLINE)


@pytest.mark.parametrize("way", [by_key, by_passport, by_the_host], ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    ("moment", "app", "kept"),
    [
        pytest.param(queued, {}, "", id="queued"),
        pytest.param(when(SILENT, "GenerationStarted"), {}, "", id="before the first token"),
        pytest.param(when(ENDLESS, "AnswerChunkAppended"), {}, "t0 ", id="in the middle"),
        pytest.param(while_a_verdict_is_awaited, {"configuration": AVOIDANCE}, "", id="during a verdict"),
        pytest.param(
            when("/script steps=1 tool_ms=3600000", "AgentThoughtRecorded", 2),
            {"mode": "agent-chat"},
            "s1",
            id="while a tool runs",
        ),
        pytest.param(when("/script fail_as=transient", "GenerationRequeued"), {}, "", id="between two attempts"),
        pytest.param(left_by_a_dead_worker, {}, "so ", id="after the worker's death"),
    ],
)
async def test_a_stop_at_every_moment(place: Place, way: Any, moment: Moment, app: dict[str, Any], kept: str):
    made = await place.server.new_app(**app)
    sender = await way(place, made)
    async with moment(place, sender) as sent:
        await asyncio.gather(*(sender.stop(sent) for _ in range(3)))
        events = await asyncio.wait_for(sender.follow(sent), DEADLINE)
        recorded = await place.names(sent["message_id"])
        await sender.stop(sent)

        assert events[-1]["event"] == "message_end"
        assert (events[-1]["metadata"]["status"], events[-1]["metadata"]["stopped_by"]) == ("stopped", "user")
        view = (await place.host.messages.get(UUID(sent["message_id"]))).message
        assert answer_of(events) == view.answer == kept
        assert (recorded.count("StopRequested"), recorded.count("MessageStopped")) == (1, 1)
        assert recorded[-1] == "MessageStopped"
        assert await place.names(sent["message_id"]) == recorded


async def test_a_stop_after_the_end_is_none(place: Place):
    sender = await by_key(place, await place.server.new_app())
    sent = await sender.send("/script tokens=2")
    events = await sender.follow(sent)
    recorded = await place.names(sent["message_id"])
    await sender.stop(sent)
    assert await place.names(sent["message_id"]) == recorded
    assert await sender.follow(sent) == events


OFFSETS = sorted({*range(0, WORDS + 1, 5), 1, WORDS - 1})
"""All of them are those of a host: tests/embedding/test_stopping.py."""


async def stop_at(
    server: LiveServer, generator: Paced, asker: httpx.AsyncClient, stopper: httpx.AsyncClient, offset: int
) -> None:
    query, shown = f"stop at {offset}", list[dict[str, Any]]()

    async def listen() -> None:
        body = chat_body(query, response_mode="streaming", auto_generate_name=False)
        async with asker.stream("POST", "/v1/chat-messages", json=body) as response:
            async for line in response.aiter_lines():
                shown.extend(events_of(line))

    listening = asyncio.create_task(listen())
    generator.let(query, offset)

    async def is_there() -> bool:
        return answer_of(shown) == words(offset) and generator.asked[query] == offset + 1

    await until(is_there)
    message_id = generator.messages[query]
    view = await server.running.application.views.message(message_id)
    await stopper.post(f"/v1/chat-messages/{view.task_id}/stop", json={"user": "ada"})
    asked = generator.asked[query]
    generator.let(query, WORDS)
    await asyncio.wait_for(listening, DEADLINE)

    stored = (await stopper.get(f"/v1/messages/{message_id}")).json()["answer"]
    assert answer_of(shown) == stored == words(offset)
    assert shown[-1]["metadata"]["status"] == "stopped"
    assert generator.asked[query] == asked == offset + 1


async def test_what_is_delivered_is_kept_and_nothing_more_is_asked_for_at_any_offset(serve):
    generator = Paced()
    async with serve(generators=[generator]) as server:
        key = await server.new_key(configuration={"generator": "paced", "settings": {}})
        clients = server.client(key), server.client(key)
        await asyncio.gather(*(stop_at(server, generator, *clients, offset) for offset in OFFSETS))
