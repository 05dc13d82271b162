"""A receiver of webhooks on the loopback: real HTTP, each reply written by the test."""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from standardwebhooks.webhooks import Webhook


@dataclass(frozen=True)
class Hook:
    """A request that came in. Names of headers are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    def verified(self, secret: str) -> dict[str, Any]:
        """The event, once the specification's own library has checked who sent it."""
        event: dict[str, Any] = Webhook(secret).verify(self.body, dict(self.headers))
        return event


@dataclass(frozen=True)
class Answer:
    """A reply; ``rest`` bytes of its body come after the first, with a pause of ``pace`` seconds before each."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    rest: int = 0
    pace: float = 0.0


HANG = Answer(status=0)
"""No reply, until the sender gives up."""

CUT = Answer(status=-1)
"""The connection ends without one."""

RUBBISH = Answer(status=-2)
"""Bytes that are no HTTP."""

Replying = Callable[[Hook], Answer]


@dataclass
class Receiver:
    """What came in, in order, and what is said to it."""

    reply: Replying = lambda _: Answer()
    tls: ssl.SSLContext | None = None
    hooks: list[Hook] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [hook.event for hook in self.hooks]

    async def until(self, condition: Callable[["Receiver"], bool], within: float = 20.0) -> None:
        """Wait for what has come in; fail if it does not come."""
        async with asyncio.timeout(within):
            while not condition(self):  # noqa: ASYNC110 - the state is another's: there is no event to wait for
                await asyncio.sleep(0.01)

    async def __aenter__(self) -> Self:
        self._open: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        hook = Hook(first.split(" ")[1], headers, body)
        self.hooks.append(hook)
        answer = self.reply(hook)
        if answer is HANG:
            await reader.read()
            return False
        if answer is CUT:
            return False
        if answer is RUBBISH:
            writer.write(b"I am no web server.\r\n\r\n")
            return False
        sent = {"content-length": str(len(answer.body) + answer.rest), **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} Said", *(f"{name}: {value}" for name, value in sent.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + answer.body)
        for _ in range(answer.rest):
            await asyncio.sleep(answer.pace)
            writer.write(b".")
            await writer.drain()
        await writer.drain()
        return True
