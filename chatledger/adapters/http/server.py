"""The servers behind one small port: started, told to stop, and owned by whoever enters them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol

from granian.constants import Interfaces
from granian.server.embed import Server

from chatledger.adapters.http.whole_requests import WholeRequests
from chatledger.application.grace import Grace

ServerKind = Literal["granian", "uvicorn"]

BACKLOG = 4_096
CONNECTIONS_BESIDE_STREAMS = 4_096
"""Granian counts an open stream against its backpressure: plain requests need room beside all of them."""

READY_WITHIN = 10.0

SECONDS_TO_END = 2.0
"""What open connections have after the grace."""


class ServerError(RuntimeError):
    """The server could not begin to serve; the text says why."""


@asynccontextmanager
async def serving(
    app: Any,
    *,
    host: str,
    port: int,
    max_open_streams: int,
    kind: ServerKind = "granian",
    on_end: Callable[[], None] = lambda: None,
    grace: Grace | None = None,
) -> AsyncIterator[int]:
    """Serve inside the running loop while inside; gives the port, which is a free one for ``port=0``.

    Signals are the caller's. Before it leaves it has to end the open streams. Whoever still reads then may read on
    within the grace, of which there is none by default; shortly after it what is still open is cut. ``on_end`` is
    called when the server ends, also where nobody told it to.

    Raises:
        ServerError: the address is taken or cannot be bound.
    """
    port = _claim_port(host, port)
    server = _server(kind, WholeRequests(app), host, port, max_open_streams)
    task = asyncio.create_task(server.serve(), name="http-server")
    task.add_done_callback(lambda _: on_end())
    try:
        await _until_ready(host, port, task)
        yield port
    finally:
        server.stop()
        if grace is not None:
            await grace.wait_for(asyncio.wait([task]))
        _, unfinished = await asyncio.wait([task], timeout=SECONDS_TO_END)
        if unfinished:
            server.cut()
            await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


class _Server(Protocol):
    async def serve(self) -> None: ...

    def stop(self) -> None: ...

    def cut(self) -> None: ...


def _server(kind: ServerKind, app: Any, host: str, port: int, max_open_streams: int) -> _Server:
    if kind == "granian":
        return _GranianServer(app, host, port, max_open_streams)
    from chatledger.adapters.http.uvicorn_server import UvicornServer  # noqa: PLC0415 - slow to import, seldom used

    return UvicornServer(app, host, port, BACKLOG)


def _claim_port(host: str, port: int) -> int:
    """A free port where none is asked for. A taken one is found here: the servers bind with ``SO_REUSEPORT``."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            claimed: int = probe.getsockname()[1]
            return claimed
    except OSError as error:
        raise ServerError(f"{host}:{port}: {error.strerror or error}") from error


async def _until_ready(host: str, port: int, task: "asyncio.Task[None]") -> None:
    deadline = asyncio.get_running_loop().time() + READY_WITHIN
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    while not task.done() and asyncio.get_running_loop().time() < deadline:
        try:
            _, connection = await asyncio.open_connection(target, port)
        except OSError:
            await asyncio.sleep(0.005)
        else:
            connection.close()
            return
    if task.done():
        await task
    raise ServerError(f"{host}:{port}: the server did not begin to serve")


class _GranianServer:
    """Granian, embedded: its workers are tasks of this loop, its I/O is done by its own thread."""

    def __init__(self, app: Any, host: str, port: int, max_open_streams: int) -> None:
        self._server = Server(
            app,
            address=host,
            port=port,
            interface=Interfaces.ASGI,
            backlog=BACKLOG,
            backpressure=max_open_streams + CONNECTIONS_BESIDE_STREAMS,
            websockets=False,
            log_enabled=False,
        )
        self._task: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        self._task = asyncio.current_task()
        await self._server.serve()

    def stop(self) -> None:
        self._server.stop()

    def cut(self) -> None:
        """Wait no longer for the connections that are still open: they end with the process."""
        if self._task is not None:
            self._task.cancel()
