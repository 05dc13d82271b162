"""The programs of docs/streams.md show what was answered, though their connections break."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.clients import node
from tests.support.server import DEADLINE, LiveServer, chat_body

PAGE = (Path(__file__).parents[2] / "docs" / "streams.md").read_text()
ANSWER = "".join(f"t{number} " for number in range(10))

STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
AWAY = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

BEFORE_THE_PAGE = """
const [proxy, conversationId] = process.argv.slice(2), Standard = EventSource;
globalThis.EventSource = class extends Standard { constructor(path) { super(proxy + path); } };
"""
AFTER_THE_PAGE = """
setInterval(() => {}, 1000); // a page stays open
source.addEventListener("message", ({ data }) => {
  if (JSON.parse(data).event !== "message_end") return;
  pending.forEach(add);
  console.log(JSON.stringify([...answers.values()]));
  process.exit();
});
"""


def program(language: str) -> str:
    return PAGE.partition(f"```{language}\n")[2].partition("```")[0]


def chunk(block: str) -> bytes:
    """As it goes over the wire. What ends without an empty one broke off."""
    return f"{len(block.encode()):x}\r\n{block}\r\n".encode()


async def blocks_of(response: httpx.Response) -> AsyncIterator[str]:
    pending = ""
    async for text in response.aiter_text():
        *blocks, pending = (pending + text).split("\n\n")
        for block in blocks:
            yield f"{block}\n\n"


@asynccontextmanager
async def bad_proxy(client: httpx.AsyncClient, faults: Sequence[str]) -> AsyncIterator[str]:
    """Before a server, and in its name: where it is.

    Args:
        client: with what the server wants to see.
        faults: of the first connections. ``before`` and ``after`` break one at the second id that it is to bring,
            ``away`` answers in the database's place.
    """
    left = iter(faults)

    async def pass_on(reader: asyncio.StreamReader, write: Callable[[bytes], None]) -> None:
        request, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        fault, ids = next(left, None), 0
        if fault == "away":
            write(AWAY.encode())
            return
        path = request.split(" ")[1].replace("/my-proxy/", "/v1/")
        point = {"Last-Event-ID": headers.get("last-event-id", "")}
        async with client.stream("GET", path, headers=point) as response:
            assert response.status_code == 200, await response.aread()
            write(STREAM.encode() + chunk("retry: 10\n\n"))
            async for block in blocks_of(response):
                ids += block.startswith("id: ")
                if ids == 2 and fault == "before":
                    return
                write(chunk(block))
                if ids == 2 and fault == "after":
                    return

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):
            await pass_on(reader, writer.write)
        writer.close()

    proxy = await asyncio.start_server(accept, "127.0.0.1")
    try:
        yield "http://{}:{}".format(*proxy.sockets[0].getsockname())
    finally:
        proxy.close()
    assert next(left, None) is None


async def begin(client: httpx.AsyncClient) -> dict[str, Any]:
    body = chat_body("/script tokens=10 interval_ms=60", response_mode="async")
    accepted: dict[str, Any] = (await client.post("/v1/chat-messages", json=body)).json()
    return accepted


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_the_page_for_browsers(server: LiveServer, tmp_path: Path, fault: str) -> None:
    """Under the ``EventSource`` of Node.js, which keeps to the standard."""
    chat = await server.new_client()
    conversation = (await begin(chat))["conversation_id"]
    script = tmp_path / "page.mjs"
    script.write_text(BEFORE_THE_PAGE + program("js") + AFTER_THE_PAGE)
    options = ("--experimental-eventsource", "--no-warnings")

    async with bad_proxy(chat, [fault] * 3) as url:
        process = await asyncio.create_subprocess_exec(
            await asyncio.to_thread(node), *options, script, url, conversation, stdout=asyncio.subprocess.PIPE
        )
        try:
            shown, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    assert json.loads(shown) == [ANSWER]


async def test_the_python(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread: it is as a client would have it. It makes a pause before each connection but the first."""
    chat = await server.new_client()
    message_id = (await begin(chat))["message_id"]
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    faults = ["before", "away", "away", "after", "before"]

    async with bad_proxy(chat, faults) as url:
        names: dict[str, Any] = {"base": url, "key": "the proxy has it", "message_id": message_id}
        await asyncio.wait_for(asyncio.to_thread(exec, program("python"), names), DEADLINE)

    assert names["answer"] == ANSWER
    assert pauses.count(1) == len(faults)
