"""The servers themselves: beginning, ending, and what they hold."""

import asyncio
import json
import socket

import httpx
import pytest

from chatledger.adapters.http.server import ServerError
from chatledger.adapters.http.settings import HttpSettings
from chatledger.application.ports.storage import StorageUnavailableError
from tests.support.databases import ON_SQLITE
from tests.support.server import DEADLINE, chat_body, events_of, live_server, until
from tests.support.tls import NO_TLS

KINDS = pytest.mark.parametrize("kind", ["granian", "uvicorn"])
LONG = "/script tokens=2 interval_ms=60000"


async def opened(client: httpx.AsyncClient, path: str | None = None) -> "tuple[httpx.Response, asyncio.Task[str]]":
    """A stream whose answer has begun, and the reading of the rest of it."""
    request = (
        client.build_request("GET", path)
        if path
        else client.build_request("POST", "/v1/chat-messages", json=chat_body(LONG, response_mode="streaming"))
    )
    response = await client.send(request, stream=True)

    async def read() -> str:
        text = "".join([chunk async for chunk in response.aiter_text()])
        await response.aclose()
        return text

    return response, asyncio.create_task(read())


@KINDS
async def test_a_taken_port(tmp_path, kind):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"127.0.0.1:{port}: Address already in use"):
            async with live_server(tmp_path / "data", kind=kind, port=port):
                pass


@KINDS
async def test_two_servers_do_not_share_a_port(tmp_path, kind):
    async with live_server(tmp_path / "one", kind=kind) as first:
        port = int(first.base_url.rpartition(":")[2])
        with pytest.raises(ServerError, match="Address already in use"):
            async with live_server(tmp_path / "two", kind=kind, port=port):
                pass


@KINDS
async def test_the_way_down(serve, kind):
    """Draining lets streams go on; at its end they close without a terminal event, and the server with them."""
    loop = asyncio.get_running_loop()
    async with serve(kind=kind) as server:
        chat = await server.new_client()
        _, dify = await opened(chat)
        sent = await chat.post("/v1/chat-messages", json=chat_body(LONG, response_mode="async"))
        _, resumable = await opened(chat, f"/v1/messages/{sent.json()['message_id']}/stream")
        blocking = asyncio.create_task(chat.post("/v1/chat-messages", json=chat_body(LONG)))

        async def all_wait() -> bool:
            return len(server.running.application.following._tail._held) == 3

        await until(all_wait)

        server.shutdown.draining.set()
        await asyncio.sleep(1.2)
        assert not dify.done()
        assert not resumable.done()
        server.running.application.following.close()
        began = loop.time()
        texts = await asyncio.wait_for(asyncio.gather(dify, resumable), DEADLINE)
        refused = await blocking
        assert loop.time() - began < 2

    assert loop.time() - began < 15
    for text in texts:
        assert [event["event"] for event in events_of(text)] == ["message"]
    assert "retry: 1000\n\n" not in texts[0]
    assert texts[1].count("retry: 1000\n\n") == 1
    assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
    assert set(refused.json()) == {"code", "message", "status", "task_id", "message_id", "conversation_id"}
    assert "retry-after" not in refused.headers, "it was taken in"


async def test_a_caller_that_is_sent_away_learns_what_it_has_sent(serve):
    """The message is there, and goes on elsewhere: a caller that knows its ids need not send it once more."""
    async with serve() as server:
        clients = {mode: await server.new_client(mode) for mode in ("chat", "completion")}
        waiting = {
            mode: asyncio.create_task(client.post(f"/v1/{mode}-messages", json=chat_body(LONG)))
            for mode, client in clients.items()
        }

        async def both_run() -> bool:
            return len(server.running.worker._running) == 2

        await until(both_run)
        server.shutdown.draining.set()
        server.running.application.following.close()
        bodies = {mode: (await task).json() for mode, task in waiting.items()}

        assert "conversation_id" not in bodies["completion"]
        for mode, client in clients.items():
            task = (await client.get(f"/v1/tasks/{bodies[mode]['task_id']}")).json()
            assert (task["message_id"], task["status"]) == (bodies[mode]["message_id"], "running")
        listed = (await clients["chat"].get("/v1/conversations?user=ada")).json()["data"]
        assert [entry["id"] for entry in listed] == [bodies["chat"]["conversation_id"]]


async def test_a_store_in_trouble_after_the_message_was_taken_in(serve):
    async with serve() as server:
        chat = await server.new_client()
        waiting = asyncio.create_task(chat.post("/v1/chat-messages", json=chat_body(LONG)))

        async def waits() -> bool:
            return len(server.running.application.following._tail._held) == 1

        await until(waits)
        with server.unreadable():
            refused = await waiting

    assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
    assert {"task_id", "message_id", "conversation_id"} <= set(refused.json())


@KINDS
async def test_open_streams_are_bounded(serve, kind):
    async with serve(kind=kind, http=HttpSettings(max_open_streams=3)) as server:
        chat = await server.new_client()
        reading = [(await opened(chat))[1] for _ in range(3)]

        for mode in ("streaming", "blocking"):
            refused = await chat.post("/v1/chat-messages", json=chat_body(response_mode=mode))
            assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
            assert refused.headers["retry-after"] == "1"
        assert len((await chat.get("/v1/conversations?user=ada")).json()["data"]) == 3
        assert (await chat.post("/v1/chat-messages", json=chat_body(response_mode="async"))).status_code == 202

        for task in reading:
            task.cancel()

        async def has_a_place() -> bool:
            return (await chat.post("/v1/chat-messages", json=chat_body("/script tokens=1"))).status_code == 200

        await until(has_a_place)


@KINDS
async def test_refusals_give_their_places_back(serve, kind):
    async with serve(kind=kind, http=HttpSettings(max_open_streams=1)) as server:
        chat = await server.new_client(tokens=1)
        for _ in range(3):
            unknown = {"conversation_id": "00000000-0000-4000-8000-000000000000", "response_mode": "streaming"}
            assert (await chat.post("/v1/chat-messages", json=chat_body(**unknown))).status_code == 404
            assert (await chat.post("/v1/chat-messages", json=chat_body("/script fail_as=quota"))).status_code == 429
            answer = await chat.post("/v1/chat-messages", json=chat_body())
            assert answer.status_code == 200
            path = f"/v1/messages/{answer.json()['id']}/stream"
            assert (await chat.get(path, params={"after": "1000"})).status_code == 400
            assert (await chat.get(path)).status_code == 200


@pytest.mark.slow
@KINDS
async def test_more_streams_than_a_servers_default_bound(tmp_path, kind):
    """Granian counts open streams against its backpressure, 1,024 by default: the next request would wait for ever."""
    async with live_server(tmp_path / "data", kind=kind) as server:
        key = await server.new_key()
        limits = httpx.Limits(max_connections=None)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(
            verify=NO_TLS, base_url=server.base_url, headers=headers, timeout=60, limits=limits
        ) as chat:
            sent = await chat.post("/v1/chat-messages", json=chat_body(LONG, response_mode="async"))
            host, port = server.base_url.removeprefix("http://").split(":")
            path = f"/v1/messages/{sent.json()['message_id']}/stream"
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
            writers: list[asyncio.StreamWriter] = []

            async def follow() -> None:
                reader, writer = await asyncio.open_connection(host, int(port))
                writers.append(writer)
                writer.write(request)
                assert b" 200 " in await asyncio.wait_for(reader.readline(), DEADLINE)

            try:
                for _ in range(11):
                    await asyncio.gather(*(follow() for _ in range(100)))
                assert (await asyncio.wait_for(chat.get("/health/live"), DEADLINE)).status_code == 200
            finally:
                for writer in writers:
                    writer.close()


async def test_a_store_in_trouble(serve, monkeypatch):
    async with serve() as server:
        chat = await server.new_client(tokens=1)

        async def fail(*_: object, **__: object) -> None:
            raise StorageUnavailableError("the disk is full")

        monkeypatch.setattr(server.running.application.sending, "_commit", fail)
        response = await chat.post("/v1/chat-messages", json=chat_body())

    assert (response.status_code, response.json()["code"]) == (503, "service_unavailable")
    assert response.headers["retry-after"] == "1"
    assert "disk" not in response.text


async def test_an_unforeseen_error_is_logged_without_its_text(serve, monkeypatch, caplog):
    text = "se" + "cret"
    async with serve() as server:
        chat = await server.new_client(tokens=1)

        async def fail(*_: object, **__: object) -> None:
            raise RuntimeError(text)

        monkeypatch.setattr(server.running.application.sending, "_commit", fail)
        response = await chat.post("/v1/chat-messages", json=chat_body(text))

    assert (response.status_code, response.json()["code"]) == (500, "internal_server_error")
    assert text not in response.text
    assert "RuntimeError" in caplog.text
    assert text not in caplog.text
    assert json.loads(response.text)["message"].startswith("The server encountered an internal error")


class TestAnEarlyRefusal:
    """The route is unknown before its body has come."""

    BODY = json.dumps(chat_body("x" * 100_000)).encode()

    @pytest.fixture
    async def connection(self, each_server):
        host, port = each_server.base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(self.BODY))
        yield reader, writer
        writer.close()
        await writer.wait_closed()

    async def test_waits_for_the_rest_of_the_body(self, connection):
        """Else the connection is reset under a client that still sends, and it never sees the answer."""
        reader, writer = connection
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.2)
        writer.write(self.BODY)

        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
        assert b" 404 " in head
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        assert json.loads(await reader.readexactly(length))["code"] == "not_found"
        writer.write(b"GET /v1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)

    async def test_does_not_wait_for_ever(self, connection):
        reader, writer = connection
        writer.write(self.BODY[:10])

        assert b" 404 " in await asyncio.wait_for(reader.readline(), DEADLINE)


async def test_options_names_all_methods_of_a_path(server):
    for path, methods in (("/api/saved-messages", "GET, OPTIONS, POST"), ("/v1/messages", "GET, OPTIONS")):
        response = await server.client().options(path)
        assert (response.status_code, response.headers["allow"]) == (204, methods)


@ON_SQLITE
async def test_a_query_string_of_raw_bytes_is_utf_8(server):
    """As clients send it that do not percent-encode."""
    client = await server.new_client(tokens=1)
    asked = (await client.post("/v1/chat-messages", json=chat_body(user="Zoë"))).json()
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    head = f"Host: x\r\nAuthorization: {client.headers['authorization']}\r\nConnection: close"

    writer.write(f"GET /v1/conversations?user=Zoë HTTP/1.1\r\n{head}\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE):
        answered = await reader.read()
    writer.close()

    assert b" 200 " in answered.splitlines()[0]
    assert asked["conversation_id"].encode() in answered
