"""Clients that go away in the middle of an answer, and what they have asked for in that case."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.support.server import LiveServer, answer_of, chat_body, events_of, until

ENDLESS = "/script tokens=2 interval_ms=3600000"
SILENT = "/script first_token_ms=3600000"
ENTRANCES = pytest.mark.parametrize("prefix", ["/v1", "/api"])


async def client_of(server: LiveServer, prefix: str = "/v1", **limits: Any) -> httpx.AsyncClient:
    app = await server.new_app(configuration={"limits": limits})
    return await server.new_visitor(app.site_code) if prefix == "/api" else server.client(app.api_key)


def body(query: str = ENDLESS, **more: Any) -> dict[str, Any]:
    return chat_body(query, **{"response_mode": "streaming", "on_disconnect": "stop"} | more)


@asynccontextmanager
async def connected(
    client: httpx.AsyncClient, prefix: str = "/v1", path: str = "", key: str = "", **more: Any
) -> AsyncIterator[str]:
    """An open stream, and the id of its message, which has its first text; the client goes away at the end."""
    method, address = ("GET", path) if path else ("POST", f"{prefix}/chat-messages")
    headers = {"Idempotency-Key": key} if key else {}
    async with client.stream(method, address, json=None if path else body(**more), headers=headers) as response:
        async for text in response.aiter_text():
            if events := events_of(text):
                yield events[0]["message_id"]
                return
    raise AssertionError("the stream ended without text")


async def message_of(client: httpx.AsyncClient, message_id: str, prefix: str = "/v1") -> dict[str, Any]:
    response = await client.get(f"{prefix}/messages/{message_id}")
    assert response.status_code == 200, response.text
    detail: dict[str, Any] = response.json()
    return detail


async def state_of(server: LiveServer, message_id: str) -> str:
    view = await server.running.application.views.message(UUID(message_id))
    assert view is not None
    return view.state


async def end_of(server: LiveServer, message_id: str) -> dict[str, Any]:
    """How a message ended, once it has."""

    async def has_ended() -> bool:
        view = await server.running.application.views.message(UUID(message_id))
        return view is not None and view.ended_at is not None

    await until(has_ended)
    recorded = await server.running.ledger.read(UUID(message_id))
    ask, end = recorded[0].body, recorded[-1].body
    return {"asked": ask.on_disconnect, "end": type(end).__name__, "by": getattr(end, "by", None)}


STOPPED = {"asked": "stop", "end": "MessageStopped", "by": "disconnect"}


async def names_of(server: LiveServer, message_id: str) -> list[str]:
    return [type(event.body).__name__ for event in await server.running.ledger.read(UUID(message_id))]


def waiting(server: LiveServer) -> dict[UUID, int]:
    audiences = server.running.application.disconnecting._audiences
    return {message_id: audience.connected for message_id, audience in audiences.items()}


@ENTRANCES
async def test_who_goes_away_from_a_stream_stops_its_answer(each_server, prefix):
    client = await client_of(each_server, prefix)

    async with connected(client, prefix) as message_id:
        pass

    assert await end_of(each_server, message_id) == STOPPED
    assert (await message_of(client, message_id, prefix))["answer"] == "t0 "
    assert UUID(message_id) not in waiting(each_server)


@ENTRANCES
async def test_who_goes_away_from_a_blocking_call_stops_its_answer(each_server, prefix):
    client = await client_of(each_server, prefix)
    before = waiting(each_server).keys()
    asking = asyncio.create_task(
        client.post(f"{prefix}/chat-messages", json=body(response_mode="blocking", user=f"a {prefix}"))
    )

    async def is_asked() -> bool:
        return bool(waiting(each_server).keys() - before)

    await until(is_asked)
    (message_id,) = waiting(each_server).keys() - before
    asking.cancel()

    assert await end_of(each_server, str(message_id)) == STOPPED
    assert message_id not in waiting(each_server)


async def test_who_goes_away_before_the_first_text_stops_the_answer_too(each_server):
    client = await client_of(each_server)
    before = waiting(each_server).keys()

    async with client.stream("POST", "/v1/chat-messages", json=body(SILENT)) as response:
        assert response.status_code == 200
        (message_id,) = waiting(each_server).keys() - before

    assert await end_of(each_server, str(message_id)) == STOPPED


@pytest.mark.parametrize("wish", [{"on_disconnect": "continue"}, {"on_disconnect": None}], ids=str)
async def test_a_disconnect_ends_nothing_by_itself(each_server, wish):
    client = await client_of(each_server)

    async with connected(client, query="/script tokens=150 interval_ms=10", **wish) as message_id:
        pass

    assert await end_of(each_server, message_id) == {"asked": "continue", "end": "MessageCompleted", "by": None}


async def test_the_last_one_who_goes_stops_the_answer(server):
    client = await client_of(server, dedupe_window=60)

    async def are_connected(count: int) -> None:
        async def is_so() -> bool:
            return waiting(server)[UUID(message_id)] == count

        await until(is_so)

    async with connected(client) as message_id:
        async with connected(client, path=f"/v1/messages/{message_id}/stream"):
            async with connected(client) as joined:
                assert joined == message_id
                await are_connected(3)
            await are_connected(2)
            asking = asyncio.create_task(client.post("/v1/chat-messages", json=body(response_mode="blocking")))
            await are_connected(3)
        await are_connected(2)
        asking.cancel()
        await are_connected(1)
        assert await state_of(server, message_id) == "running"

    assert await end_of(server, message_id) == STOPPED


async def test_who_regenerates_may_want_it_so_as_well(server):
    client = await client_of(server)
    asked = (await client.post("/v1/chat-messages", json=chat_body("/script tokens=1"))).json()
    path = f"/v1/messages/{asked['id']}/regenerate"

    for wish, mode in (("halt", "streaming"), ("stop", "async")):
        refused = await client.post(path, json={"user": "ada", "on_disconnect": wish, "response_mode": mode})
        assert (refused.status_code, refused.json()["params"]) == (400, "on_disconnect")
    wish = {"user": "ada", "on_disconnect": "stop", "response_mode": "streaming"}
    again = await client.post(path, json=wish)

    recorded = await server.running.ledger.read(UUID(events_of(again.text)[0]["message_id"]))
    assert recorded[0].body.on_disconnect == "stop"


@ENTRANCES
async def test_where_nobody_is_connected_nobody_can_go_away(server, prefix):
    client = await client_of(server, prefix)
    refused = await client.post(f"{prefix}/chat-messages", json=body(response_mode="async"))
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_param")
    assert refused.json()["params"] == "on_disconnect"
    taken = await client.post(f"{prefix}/chat-messages", json=body(response_mode="async", on_disconnect="continue"))
    assert taken.status_code == 202


# The server's own closing


@pytest.mark.parametrize("kind", ["granian", "uvicorn"])
async def test_who_is_sent_away_has_not_gone(serve, kind):
    async with serve(kind=kind) as server:
        client = await client_of(server)
        async with connected(client) as message_id:
            server.shutdown.draining.set()

        async def is_over() -> bool:
            return not waiting(server)

        await until(is_over)
    async with serve(kind=kind) as server:
        client = server.client(client.headers["authorization"].removeprefix("Bearer "))
        operator = server.client(await server.new_token("audit"))
        for reader in (client, operator):
            async with connected(reader, path=f"/v1/messages/{message_id}/stream"):
                pass

            await until(is_over)
            await message_of(client, message_id)
        names = await names_of(server, message_id)
        assert names[-1] == "AnswerChunkAppended", "it goes on"
    assert "StopRequested" not in names


async def test_whose_stream_was_cut_short_has_not_gone(server):
    client = await client_of(server)
    headers = {"Idempotency-Key": "once"}
    async with client.stream("POST", "/v1/chat-messages", json=body(), headers=headers) as response:
        chunks = response.aiter_text()
        events = events_of(await anext(chunks))
        message_id = events[0]["message_id"]
        with server.unreadable():
            assert [chunk async for chunk in chunks] == []

    async def is_over() -> bool:
        return UUID(message_id) not in waiting(server)

    await until(is_over)
    assert await state_of(server, message_id) == "running"
    async with connected(client, path=f"/v1/messages/{message_id}/stream"):
        pass
    await until(is_over)
    await message_of(client, message_id)
    assert "StopRequested" not in await names_of(server, message_id), "who only looks at it has not sent it"
    async with connected(client, key="once") as repeated:
        assert repeated == message_id
    assert await end_of(server, message_id) == STOPPED
    assert answer_of(events) == (await message_of(client, message_id))["answer"]
