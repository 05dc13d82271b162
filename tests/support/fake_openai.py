"""A provider on the loopback: the real streaming protocol, every step of it written by the test."""

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Event:
    """One server-sent event, its data as it stands; with a name, in protocols whose events have one."""

    data: bytes
    name: str = ""


@dataclass(frozen=True)
class Pause:
    """Silence, in seconds."""

    seconds: float


@dataclass(frozen=True)
class Stall:
    """Silence until the client goes away."""


@dataclass(frozen=True)
class Cut:
    """The connection breaks in the middle of the stream."""


@dataclass(frozen=True)
class Stream:
    """A response of status 200 whose body is these steps, ended as HTTP wants it unless a step broke it off.

    Attributes:
        silent_for: seconds before the response's head.
    """

    steps: Sequence[Event | Pause | Stall | Cut]
    silent_for: float = 0.0


@dataclass(frozen=True)
class Refusal:
    """A response that is no stream."""

    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """Bytes as they go onto the connection, whatever HTTP has to say of them; then the connection is closed.

    Attributes:
        pieces: bytes, and pauses between them.
        times: how often the last piece is sent.
        resets: end the connection with a reset, not with its orderly end.
    """

    pieces: Sequence[bytes | Pause | Stall]
    times: int = 1
    resets: bool = False


@dataclass
class Received:
    """A request as it came, and what became of its connection.

    Attributes:
        body: of a request in JSON.
        raw: the body as it came.
        started: the head of the response is out.
        closed: the client has closed the connection.
        sent: how many events of the response were sent.
    """

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes = b""
    started: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0


DONE = Event(b"[DONE]")


def chunk(*, choices: Sequence[object] = (), **more: object) -> Event:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
    return Event(json.dumps({**head, "choices": list(choices), **more}).encode())


def token(text: str, **delta: object) -> Event:
    return chunk(choices=[{"index": 0, "delta": {"content": text, **delta}, "finish_reason": None}])


def tool_call(name: str, arguments: object, *, index: int = 0) -> Event:
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"index": index, "id": f"call-{name}-{index}", "type": "function", "function": function}
    return chunk(choices=[{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}])


def calling(*calls: tuple[str, object], saying: Sequence[str] = ()) -> Stream:
    """A step of an agent: some text, then calls of tools by name and arguments."""
    called = [tool_call(name, arguments, index=index) for index, (name, arguments) in enumerate(calls)]
    spoken = [token(text) for text in saying]
    return Stream([token("", role="assistant"), *spoken, *called, finish("tool_calls"), usage(10, 5), DONE])


def finish(reason: str) -> Event:
    return chunk(choices=[{"index": 0, "delta": {}, "finish_reason": reason}])


def usage(prompt_tokens: int, completion_tokens: int) -> Event:
    total = prompt_tokens + completion_tokens
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}
    return chunk(usage=counts)


def answer(*tokens: str, reason: str = "stop", pace: float = 0.0) -> Stream:
    """A whole answer as OpenAI streams it, with ``pace`` seconds between the tokens."""
    spoken = [step for text in tokens for step in (token(text), Pause(pace))]
    return Stream([token("", role="assistant"), *spoken, finish(reason), usage(7, len(tokens)), DONE])


def transcription(text: str) -> Refusal:
    return Refusal(200, {"text": text})


def spoken(audio: bytes) -> Refusal:
    return Refusal(200, audio, {"content-type": "audio/mpeg"})


def moderation(*flagged: bool) -> Refusal:
    return Refusal(200, {"id": "modr-1", "model": "fake", "results": [{"flagged": flag} for flag in flagged]})


def embeddings(*vectors: Sequence[float]) -> Refusal:
    data = [{"object": "embedding", "index": index, "embedding": list(v)} for index, v in enumerate(vectors)]
    return Refusal(200, {"object": "list", "model": "fake", "data": data, "usage": {}})


Response = Stream | Refusal | Raw
Responder = Callable[[Received], Response]


class FakeOpenAI:
    """Answers the n-th request with the n-th response of its script, and keeps what it was asked.

    A path that a responder was given for is answered by that, each time.
    """

    def __init__(self, *script: Response) -> None:
        self.requests: list[Received] = []
        self._script: deque[Response] = deque(script)
        self._responders: dict[str, Responder] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._arrival = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    def then(self, *script: Response) -> None:
        self._script.extend(script)

    def always(self, path: str, responder: Responder) -> None:
        """Answer so whatever is asked at this path, given as after the base URL."""
        self._responders[f"/v1{path}"] = responder

    async def asked(self, count: int = 1, within: float = 5.0) -> Received:
        """The ``count``-th request, as soon as it is there."""
        async with asyncio.timeout(within):
            async with self._arrival:
                await self._arrival.wait_for(lambda: len(self.requests) >= count)
        return self.requests[count - 1]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._hold(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                await self._serve(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _next_head(reader)
        while head is not None:
            request = await _read_request(head, reader)
            async with self._arrival:
                self.requests.append(request)
                self._arrival.notify_all()
            # Read on while answering: that alone tells when the client closes.
            following = asyncio.create_task(_watch(reader, request))
            try:
                responder = self._responders.get(request.path)
                response = responder(request) if responder else self._script.popleft()
                whole = await _respond(response, request, writer)
                if not whole:
                    return
                head = await following
            finally:
                following.cancel()


async def _next_head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def _watch(reader: asyncio.StreamReader, request: Received) -> bytes | None:
    head = await _next_head(reader)
    if head is None:
        request.closed.set()
    return head


async def _read_request(head: bytes, reader: asyncio.StreamReader) -> Received:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    is_json = headers.get("content-type", "").startswith("application/json")
    return Received(first.split(" ")[1], headers, json.loads(body) if is_json else {}, body)


async def _respond(response: Response, request: Received, writer: asyncio.StreamWriter) -> bool:
    match response:
        case Refusal(status=status, body=content, headers=headers):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            fields = {"content-type": "application/json", "content-length": str(len(body)), **headers}
            lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            writer.write(f"HTTP/1.1 {status} -\r\n{lines}\r\n".encode() + body)
            await writer.drain()
            return True
        case Raw():
            request.started.set()
            await _send_as_it_is(response, request, writer)
            return False
        case Stream(steps=steps, silent_for=silence):
            await _wait(silence, request)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            request.started.set()
            for step in steps:
                if request.closed.is_set():
                    return False
                match step:
                    case Event(data=data, name=name):
                        event = (f"event: {name}\n".encode() if name else b"") + b"data: " + data + b"\n\n"
                        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                        request.sent += 1
                        await writer.drain()
                    case Pause(seconds=seconds):
                        await _wait(seconds, request)
                    case Stall():
                        await request.closed.wait()
                    case Cut():
                        return False
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return True


async def _send_as_it_is(raw: Raw, request: Received, writer: asyncio.StreamWriter) -> None:
    for piece in [*raw.pieces, *[raw.pieces[-1]] * (raw.times - 1)]:
        match piece:
            case Pause(seconds=seconds):
                await _wait(seconds, request)
            case Stall():
                await request.closed.wait()
            case bytes():
                writer.write(piece)
                await writer.drain()
    if raw.resets:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def _wait(seconds: float, request: Received) -> None:
    if seconds:
        with suppress(TimeoutError):
            await asyncio.wait_for(request.closed.wait(), seconds)
