"""No answer overtakes the request that it is for."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DRAIN_SECONDS = 1.0


class WholeRequests:
    """Takes in what is left of a request's body before the answer begins.

    A refusal can be ready while its body is still on the way: the key is wrong, the route unknown. A server that then
    answers and closes the connection resets it under a client that is still sending, and the client never sees the
    answer. It is waited for no longer than a second: a body without end is cut off all the same.
    """

    def __init__(self, app: Callable[[Any, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one connection scope of ASGI."""
        if scope["type"] != "http" or not _sends_body(scope["headers"]):
            await self._app(scope, receive, send)
            return
        is_whole = False

        async def receive_and_note() -> Message:
            nonlocal is_whole
            message = await receive()
            is_whole = is_whole or not message.get("more_body", False)
            return message

        async def take_in_the_rest() -> None:
            while not is_whole:
                await receive_and_note()

        async def begin_when_whole(message: Message) -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(take_in_the_rest(), DRAIN_SECONDS)
            await send(message)

        def send_when_whole(message: Message) -> Awaitable[None]:
            is_early = not is_whole and message["type"] == "http.response.start"
            return begin_when_whole(message) if is_early else send(message)

        await self._app(scope, receive_and_note, send_when_whole)


def _sends_body(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the client sends a body unasked: one that waits for `100 Continue` need not send it for a refusal."""
    names = {name for name, _ in headers}
    return bool(names & {b"content-length", b"transfer-encoding"}) and b"expect" not in names
