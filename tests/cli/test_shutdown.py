"""A server that is told to end: what it finishes, what it hands over, and whom it does not wait for."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatledger.adapters.http.server import SECONDS_TO_END
from tests.support.databases import ON_SQLITE
from tests.support.fake_openai import FakeOpenAI, Stream, answer
from tests.support.process import ServerProcess, run_json
from tests.support.server import answer_of, events_of, until
from tests.support.tls import NO_TLS

EACH_HTTP_SERVER = pytest.mark.parametrize(
    ("http_server", "database"),
    [("granian", "sqlite"), ("uvicorn", "sqlite"), pytest.param("granian", "postgres", marks=pytest.mark.postgres)],
    indirect=["database"],
)
"""Each on one database: they have nothing to do with each other."""

SEND = "/v1/chat-messages"
ENDLESS = "/script tokens=1000 interval_ms=3600000"
"""One token, and then nothing for an hour."""

SHORTLY = 20.0
"""Seconds that a server may take to end where there is no grace, on a machine that is busy."""


def body(query: str, response_mode: str = "streaming") -> dict[str, Any]:
    return {"inputs": {}, "query": query, "user": "ann", "response_mode": response_mode}


class Reading:
    """A stream and what it brings, up to the end of the connection.

    Attributes:
        text: as it came.
        is_whole: the response was ended as HTTP wants it, and not broken off.
    """

    def __init__(self, client: httpx.AsyncClient, method: str, path: str, **request: Any) -> None:
        self.text = ""
        self.is_whole = False
        self._status = 0
        self._done = asyncio.create_task(self._read(client, method, path, request))

    async def _read(self, client: httpx.AsyncClient, method: str, path: str, request: dict[str, Any]) -> None:
        async with client.stream(method, path, **request) as response:
            assert response.status_code == 200, await response.aread()
            self._status = response.status_code
            async for piece in response.aiter_text():
                self.text += piece
        self.is_whole = True

    @property
    def kinds(self) -> list[str]:
        return [event["event"] for event in events_of(self.text)]

    @property
    def message(self) -> dict[str, Any]:
        return events_of(self.text)[0]

    @property
    def message_id(self) -> str:
        return str(self.message["message_id"])

    @property
    def last_id(self) -> str:
        return [block[4:] for block in self.text.split("\n\n") if block.startswith("id: ")][-1]

    async def is_accepted(self) -> bool:
        return self._status == 200

    async def has_text(self) -> bool:
        return '"message' in self.text

    async def end(self) -> None:
        await asyncio.wait_for(self._done, SHORTLY)


@asynccontextmanager
async def client_of(server: ServerProcess, key: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(verify=NO_TLS, base_url=server.url, headers=headers, timeout=30) as client:
        yield client


async def exit_code(server: ServerProcess, within: float = SHORTLY) -> int:
    code = await asyncio.to_thread(server.wait, within)
    assert_nothing_failed(server)
    return code


def assert_nothing_failed(server: ServerProcess) -> None:
    log = server.log.read_text()
    assert all(" INFO " in line for line in log.splitlines()), log


def draining(server: ServerProcess) -> Any:
    async def is_draining() -> bool:
        return "draining" in server.log.read_text()

    return until(is_draining)


async def until_not(condition: Callable[[], Awaitable[bool]]) -> None:
    async def is_over() -> bool:
        return not await condition()

    await until(is_over)


async def types_of(client: httpx.AsyncClient, message_id: str) -> list[str]:
    page = (await client.get(f"/v1/messages/{message_id}/events", params={"limit": 100})).json()
    return [event["type"] for event in page["data"] if event["type"] != "AnswerChunkAppended"]


async def state_of(client: httpx.AsyncClient, task_id: str) -> str:
    return str((await client.get(f"/v1/tasks/{task_id}")).json()["status"])


async def has_completed(client: httpx.AsyncClient, task_id: str) -> bool:
    return await state_of(client, task_id) == "completed"


@EACH_HTTP_SERVER
async def test_within_the_grace_answers_end_and_reads_are_served(
    data_folder: Path, app: dict[str, str], http_server: str
) -> None:
    with ServerProcess(data_folder, env={"CHATLEDGER_HTTP_SERVER": http_server}) as server:
        async with client_of(server, app["api_key"]) as client:
            whole = (await client.post(SEND, json=body("/script tokens=3", "blocking"))).json()
            short = "/script tokens=40 interval_ms=50"
            plain = Reading(client, "POST", SEND, json=body(short))
            with_ids = Reading(client, "POST", SEND, json=body(short), headers={"X-Stream-Ids": "1"})
            last = Reading(client, "POST", SEND, json=body(ENDLESS))
            waiting = asyncio.create_task(client.post(SEND, json=body(short, "blocking")))
            for reading in (plain, with_ids, last):
                await until(reading.has_text)
            followed = Reading(client, "GET", f"/v1/messages/{last.message_id}/stream")
            await until(followed.has_text)

            server.signal(signal.SIGTERM)
            await draining(server)
            for mode in ("streaming", "blocking", "async"):
                refused = await client.post(SEND, json=body("too late", mode))
                assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
                assert refused.headers["retry-after"] == "1"
            health = [(await client.get(f"/health/{what}")).status_code for what in ("ready", "live")]
            assert health == [503, 200]
            assert (await client.get(f"/v1/messages/{whole['id']}")).json()["answer"] == "t0 t1 t2 "
            replayed = await client.get(f"/v1/messages/{whole['id']}/stream")
            assert events_of(replayed.text)[-1]["event"] == "message_end"
            joined = Reading(client, "GET", f"/v1/messages/{last.message_id}/stream")
            await until(joined.has_text)

            for reading in (plain, with_ids):
                await reading.end()
            answered = (await waiting).json()
            await client.post(f"{SEND}/{last.message['task_id']}/stop", json={"user": "ann"})
            for reading in (last, followed, joined):
                await reading.end()
        assert await exit_code(server) == 0

    all_of_it = "".join(f"t{number} " for number in range(40))
    assert answered["answer"] == answer_of(events_of(plain.text)) == answer_of(events_of(with_ids.text)) == all_of_it
    for reading in (plain, with_ids, last, followed, joined):
        assert reading.kinds[-1] == "message_end"
    for reading, told in ((plain, 0), (last, 0), (with_ids, 1), (followed, 1), (joined, 1)):
        assert reading.text.count("retry: 1000\n\n") == told


@ON_SQLITE
@pytest.mark.parametrize("http_server", ["granian", "uvicorn"])
async def test_new_work_is_let_in_until_balancers_know_and_what_came_before_is_answered(
    data_folder: Path, app: dict[str, str], http_server: str
) -> None:
    env = {"CHATLEDGER_HTTP_SERVER": http_server, "CHATLEDGER_DRAIN_DELAY": "2"}
    query = json.dumps(body("/script tokens=2", "blocking")).encode()
    with ServerProcess(data_folder, env=env) as server:
        async with client_of(server, app["api_key"]) as client:
            assert "connection" not in (await client.get("/health/ready")).headers
            server.signal(signal.SIGTERM)

            async def is_ready() -> bool:
                return (await client.get("/health/ready")).status_code == 200

            await until_not(is_ready)
            with unread(server, app["api_key"], f"POST {SEND}", query, held_back=1) as slow:
                answered = await client.post(SEND, json=body("/script tokens=3", "blocking"))
                assert answered.json()["answer"] == "t0 t1 t2 "
                assert answered.headers["connection"] == "close"
                await draining(server)
                refused = await client.post(SEND, json=body("too late", "blocking"))
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                slow.sendall(query[-1:])
                assert b'"answer":"t0 t1 "' in await asyncio.to_thread(read_to_the_end, slow)
        assert await exit_code(server) == 0


@EACH_HTTP_SERVER
async def test_past_the_grace_what_is_unfinished_is_handed_over(
    data_folder: Path, app: dict[str, str], http_server: str
) -> None:
    env = {
        "CHATLEDGER_SHUTDOWN_GRACE": "0.5",
        "CHATLEDGER_WORKER_CONCURRENCY": "3",
        "CHATLEDGER_FIRST_RETRY_DELAY": "4",
        "CHATLEDGER_HTTP_SERVER": http_server,
    }
    slow = "/script tokens=1000 interval_ms=50 vary_by_attempt=true"
    with ServerProcess(data_folder, env=env) as server:
        async with client_of(server, app["api_key"]) as client:
            flaky = "/script tokens=1 fail_after=0 fail_as=transient fail_times=1"
            retrying = (await client.post(SEND, json=body(flaky, "async"))).json()

            async def is_put_back() -> bool:
                return await state_of(client, retrying["task_id"]) == "retrying"

            await until(is_put_back)
            plain = Reading(client, "POST", SEND, json=body(slow))
            with_ids = Reading(client, "POST", SEND, json=body(slow), headers={"X-Stream-Ids": "1"})
            waiting = asyncio.create_task(client.post(SEND, json=body(slow, "blocking")))
            for reading in (plain, with_ids):
                await until(reading.has_text)
            followed = Reading(client, "GET", f"/v1/messages/{plain.message_id}/stream")
            await until(followed.has_text)
            queued = (await client.post(SEND, json=body("/script tokens=2", "async"))).json()
            assert await state_of(client, queued["task_id"]) == "queued"

            server.signal(signal.SIGTERM)
            assert await exit_code(server) == 0
            for reading in (plain, with_ids, followed):
                await reading.end()
            refused = await waiting

    for reading, told in ((plain, 0), (with_ids, 1), (followed, 1)):
        assert reading.is_whole
        assert set(reading.kinds) == {"message"}
        assert reading.text.count("retry: 1000\n\n") == told
    assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
    assert "retry-after" not in refused.headers, "it was taken in: who sends it again without a key doubles it"

    with ServerProcess(data_folder) as server:
        async with client_of(server, app["api_key"]) as client:
            for message in (plain.message, with_ids.message, refused.json(), retrying):
                types = await types_of(client, message["message_id"])
                assert types[:3] == ["MessageCreated", "GenerationStarted", "GenerationRequeued"]
            assert (await types_of(client, queued["message_id"]))[:2] == ["MessageCreated", "GenerationStarted"]
            resumed = Reading(
                client,
                "GET",
                f"/v1/messages/{with_ids.message_id}/stream",
                headers={"Last-Event-ID": with_ids.last_id},
            )
            await until(resumed.has_text)
            for message in (plain.message, with_ids.message, refused.json()):
                await client.post(f"{SEND}/{message['task_id']}/stop", json={"user": "ann"})
            await resumed.end()
            assert resumed.kinds[0] == "message_replace"
            assert resumed.kinds[-1] == "message_end"
            answer = (await client.get(f"/v1/messages/{with_ids.message_id}")).json()["answer"]
            assert answer_of(events_of(with_ids.text + resumed.text)) == answer
            for message in (queued, retrying):
                await until(lambda task=message["task_id"]: has_completed(client, task))


@ON_SQLITE
async def test_a_second_signal_ends_the_grace(data_folder: Path, app: dict[str, str]) -> None:
    with ServerProcess(data_folder) as server:
        async with client_of(server, app["api_key"]) as client:
            reading = Reading(client, "POST", SEND, json=body(ENDLESS))
            await until(reading.has_text)
            server.signal(signal.SIGTERM)
            await draining(server)
            server.signal(signal.SIGINT)
            assert await exit_code(server) == 0
            await reading.end()
    assert reading.is_whole
    assert reading.kinds == ["message"]
    with ServerProcess(data_folder, "--no-worker") as server:
        async with client_of(server, app["api_key"]) as client:
            types = await types_of(client, reading.message_id)
    assert types == ["MessageCreated", "GenerationStarted", "GenerationRequeued"]


@ON_SQLITE
async def test_two_signals_at_once_leave_no_grace(data_folder: Path, app: dict[str, str]) -> None:
    with ServerProcess(data_folder) as server:
        async with client_of(server, app["api_key"]) as client:
            reading = Reading(client, "POST", SEND, json=body(ENDLESS))
            await until(reading.has_text)
            server.signal(signal.SIGSTOP)  # it hears both of them when it goes on
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
                server.signal(number)
            assert await exit_code(server) == 0
            await reading.end()
    assert reading.kinds == ["message"]


@EACH_HTTP_SERVER
async def test_within_the_grace_what_was_accepted_before_is_begun_as_well(
    data_folder: Path, app: dict[str, str], http_server: str
) -> None:
    """What waits for its turn, for another try, or for a worker."""
    env = {
        "CHATLEDGER_HTTP_SERVER": http_server,
        "CHATLEDGER_WORKER_CONCURRENCY": "3",
        "CHATLEDGER_FIRST_RETRY_DELAY": "1",
    }
    busy = "/script tokens=40 interval_ms=50"
    flaky = "/script tokens=3 fail_after=0 fail_as=transient fail_times=1"
    fails_later = f"{flaky} first_token_ms=1500"
    with ServerProcess(data_folder, env=env) as server:
        async with client_of(server, app["api_key"]) as client:
            first = Reading(client, "POST", SEND, json=body(busy))
            await until(first.has_text)
            in_turn = body("/script tokens=3") | {
                "conversation_id": first.message["conversation_id"],
                "on_busy": "queue",
            }
            failing = Reading(client, "POST", SEND, json=body(fails_later))
            retrying = Reading(client, "POST", SEND, json=body(flaky))
            waiting = [Reading(client, "POST", SEND, json=in_turn)]
            waiting += [Reading(client, "POST", SEND, json=body(f"{busy} tokens={number}")) for number in (3, 4)]
            for reading in (failing, retrying, *waiting):
                await until(reading.is_accepted)

            server.signal(signal.SIGTERM)
            for reading in (first, failing, retrying, *waiting):
                await reading.end()
            assert await exit_code(server) == 0
    for reading in (first, failing, retrying, *waiting):
        assert reading.kinds[-1] == "message_end"


# Who is not waited for


@ON_SQLITE
async def test_a_provider_that_hangs_is_left_past_the_grace(data_folder: Path) -> None:
    async with FakeOpenAI(Stream([], silent_for=3_600)) as provider:
        env = {
            "CHATLEDGER_OPENAI_BASE_URL": provider.base_url,
            "CHATLEDGER_OPENAI_API_KEY": "k",
            "CHATLEDGER_SHUTDOWN_GRACE": "0.5",
        }
        hanging = ("--mode", "chat", "--name", "Hanging", "--generator", "openai_compatible", "--set", "model=m")
        app = await asyncio.to_thread(lambda: run_json(data_folder, "apps", "create", *hanging, env=env))
        with ServerProcess(data_folder, env=env) as server:
            async with client_of(server, app["api_key"]) as client:
                reading = Reading(client, "POST", SEND, json=body("hello"))
                await until(reading.is_accepted)
                server.signal(signal.SIGTERM)
                assert await exit_code(server) == 0
                await reading.end()
    assert reading.is_whole
    assert reading.kinds == []


@contextmanager
def unread(
    server: ServerProcess, key: str, request: str, content: bytes = b"", held_back: int = 0
) -> Iterator[socket.socket]:
    """A connection whose answer nobody reads yet, and which holds little of it by itself.

    So many bytes of the content are left to be sent.
    """
    host, port = server.url.removeprefix("http://").split(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(SHORTLY)
        connection.connect((host, int(port)))
        head = f"{request} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(content)}\r\n"
        kind = "Content-Type: application/json\r\n\r\n"
        connection.sendall((head + kind).encode() + content[: len(content) - held_back])
        yield connection


async def refuses_connections(server: ServerProcess) -> bool:
    host, port = server.url.removeprefix("http://").split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


def read_to_the_end(connection: socket.socket) -> bytes:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_000_000)
    with connection.makefile("rb") as response:
        return response.read()


@ON_SQLITE
@pytest.mark.parametrize("http_server", ["granian", "uvicorn"])
async def test_who_reads_late_is_waited_for_and_who_never_reads_is_not(data_folder: Path, http_server: str) -> None:
    # In JSON a control character is six bytes long: the answer is more than a connection holds by itself.
    async with FakeOpenAI(answer(*["\x01" * 10_000] * 95)) as provider:
        env = {
            "CHATLEDGER_HTTP_SERVER": http_server,
            "CHATLEDGER_OPENAI_BASE_URL": provider.base_url,
            "CHATLEDGER_OPENAI_API_KEY": "k",
        }
        asking = ("--mode", "chat", "--name", "Long", "--generator", "openai_compatible", "--set", "model=m")
        app = await asyncio.to_thread(lambda: run_json(data_folder, "apps", "create", *asking, env=env))
        key = app["api_key"]
        with ServerProcess(data_folder, env=env) as server:
            async with client_of(server, key) as client:
                sent = (await client.post(SEND, json=body("at length", "async") | {"auto_generate_name": False})).json()
                await until(lambda: has_completed(client, sent["task_id"]))
                follow = f"GET /v1/messages/{sent['message_id']}/stream"
                with unread(server, key, follow) as late, unread(server, key, follow) as never:
                    for connection in (late, never):
                        assert b" 200 " in await asyncio.to_thread(connection.recv, 20)
                    server.signal(signal.SIGTERM)
                    await draining(server)
                    await until(lambda: refuses_connections(server))
                    await asyncio.sleep(SECONDS_TO_END + 1)
                    assert b'"message_end"' in await asyncio.to_thread(read_to_the_end, late)
                    assert server.process.poll() is None
                    server.signal(signal.SIGTERM)
                    assert await exit_code(server) == 0
