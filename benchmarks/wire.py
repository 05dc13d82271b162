"""Requests and event streams, one connection each, for what is measured stream by stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Self

from benchmarks.servers import Server

PATIENCE = 60.0
"""Seconds for an answer, and for the next part of a stream."""


class Connection:
    """One connection, one request.

    Attributes:
        last_id: the last event id that a stream gave.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.last_id = ""
        self._reader = reader
        self._writer = writer

    @classmethod
    async def ask(cls, server: Server, method: str, path: str, body: Any = None, **headers: str) -> Self:
        """Send a request and wait for the head of its answer.

        Raises:
            ValueError: it is not a success.
        """
        connection = cls(*await asyncio.open_connection("127.0.0.1", server.port))
        content = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} {path} HTTP/1.1",
            "host: 127.0.0.1",
            f"authorization: Bearer {server.api_key}",
            "content-type: application/json",
            f"content-length: {len(content)}",
            *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        ]
        connection._writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        async with asyncio.timeout(PATIENCE):
            head = await connection._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            connection.close()
            raise ValueError(f"unexpected response: {head!r}")
        return connection

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answer piece by piece. It is over where the connection breaks."""
        try:
            while True:
                async with asyncio.timeout(PATIENCE):
                    size = int(await self._reader.readline() or b"0", 16)
                    chunk = await self._reader.readexactly(size + 2)
                if not size:
                    return
                yield chunk[:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The events of a stream."""
        rest = b""
        async for chunk in self.chunks():
            *blocks, rest = (rest + chunk).split(b"\n\n")
            for block in blocks:
                if block.startswith(b"data: "):
                    yield json.loads(block[6:])
                elif block.startswith(b"id: "):
                    self.last_id = block[4:].decode()

    def close(self) -> None:
        """Close it."""
        self._writer.close()


async def send_message(server: Server, user: str, **headers: str) -> Connection:
    """Ask something; the answer streams."""
    body = {"query": "What is a ledger?", "user": user, "inputs": {}, "response_mode": "streaming"}
    return await Connection.ask(server, "POST", "/v1/chat-messages", body, **headers)


async def until_text(events: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    """The next event with text.

    Raises:
        ValueError: the stream has none any more.
    """
    async for event in events:
        if event.get("answer"):
            return event
    raise ValueError("the stream ended without text")
