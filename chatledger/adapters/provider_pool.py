"""Connections to providers, which may send whatever they like: what is read of it has bounds. Slow to import."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2

LARGEST_EVENT = 1024 * 1024
"""Bytes of an event stream without an end of an event."""

LARGEST_BODY = 32 * 1024 * 1024
"""Bytes of a body of any other kind."""

_ENDS_OF_EVENTS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_LONGEST_END = 4


def pool_options(connect_timeout: float, read_timeout: float, headers: Mapping[str, str] | None = None) -> Any:
    """The arguments of an ``httpx2.AsyncClient``, or of a class below it, whose responses are bounded.

    It follows no redirect: a question goes where it was sent, and to nobody else.
    """
    return {
        "timeout": httpx2.Timeout(read_timeout, connect=connect_timeout),
        # Whoever compresses makes of few bytes as many as it likes.
        "headers": {"Accept-Encoding": "identity", **(headers or {})},
        "follow_redirects": False,
        "event_hooks": {"response": [_bound]},
    }


async def _bound(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx2.RemoteProtocolError("the response is compressed, which was not asked for")
    is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream, LARGEST_EVENT if is_stream else LARGEST_BODY, is_stream=is_stream)


class _Bounded(httpx2.AsyncByteStream):
    """The bytes of a response, until there are too many of them."""

    def __init__(self, stream: httpx2.AsyncByteStream, most: int, *, is_stream: bool) -> None:
        self._stream = stream
        self._most = most
        self._is_stream = is_stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        held, before = 0, b""
        async for piece in self._stream:
            held += len(piece)
            if self._is_stream:
                seen = before + piece
                end = max(seen.rfind(mark) for mark in _ENDS_OF_EVENTS)
                held = held if end < 0 else len(seen) - end
                before = seen[1 - _LONGEST_END :]
            if held > self._most:
                raise httpx2.RemoteProtocolError("the response is larger than any answer")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
