"""The floor: a bare ASGI application that streams one frame per token and stores nothing.

It runs on the same server, with the same settings, as chatledger. ``/instant/<tokens>`` streams as fast as it can;
``/paced/<tokens>/<milliseconds>`` gives each token at its time and writes that time into it.
"""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from chatledger.adapters.http.server import serving

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

ID = b"01900000-0000-7000-8000-000000000000"
PREFIX = (
    b'data: {"event":"message","conversation_id":"%s","message_id":"%s","created_at":1750000000,'
    b'"task_id":"%s","id":"%s","answer":"' % (ID, ID, ID, ID)
)
SUFFIX = b'","from_variable_selector":null}\n\n'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")],
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer any POST."""
    if scope["type"] != "http":
        return
    kind, *numbers = scope["path"].strip("/").split("/")
    if kind not in {"instant", "paced"}:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    while (await receive()).get("more_body"):
        pass
    await send(START)
    if kind == "instant":
        await _instant(send, int(numbers[0]))
    else:
        await _paced(send, int(numbers[0]), float(numbers[1]) / 1000)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _instant(send: Send, tokens: int) -> None:
    for number in range(tokens):
        frame = PREFIX + b"t%d " % number + SUFFIX
        await send({"type": "http.response.body", "body": frame, "more_body": True})


async def _paced(send: Send, tokens: int, interval: float) -> None:
    due = time.monotonic()
    for _ in range(tokens):
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        frame = PREFIX + b"m%d " % (due * 1e6) + SUFFIX
        await send({"type": "http.response.body", "body": frame, "more_body": True})
        due += interval


async def main() -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serving(app, host="127.0.0.1", port=0, max_open_streams=10_000, kind="granian") as port:
        print(json.dumps({"event": "ready", "url": f"http://127.0.0.1:{port}"}), flush=True)
        await stop.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
