"""A real server on a free port of the loopback, inside the test's own event loop."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from chatledger.adapters.http.app import create_http_app
from chatledger.adapters.http.server import ServerKind, serving
from chatledger.adapters.http.settings import HttpSettings
from chatledger.adapters.http.shutdown import Shutdown
from chatledger.adapters.http.stream_events import StreamEvent
from chatledger.application.commands.managing_apps import CreatedApp
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ports.generator import Generator
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.bootstrap import Running, open_chatledger
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.values import AppMode, Scope
from chatledger.settings import Settings
from tests.support.tls import NO_TLS

DEADLINE = 20.0


@dataclass
class LiveServer:
    """What runs, and where."""

    base_url: str
    running: Running
    shutdown: Shutdown
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    async def new_key(
        self, mode: AppMode = "chat", *, configuration: dict[str, Any] | None = None, **script: Any
    ) -> str:
        """The key of a new app whose scripted generator does this."""
        return (await self.new_app(mode, configuration=configuration, **script)).api_key

    async def new_app(
        self, mode: AppMode = "chat", *, configuration: dict[str, Any] | None = None, **script: Any
    ) -> CreatedApp:
        """A new app whose scripted generator does this."""
        given = {"generator": "scripted", "settings": script} | (configuration or {})
        made = msgspec.convert(given, AppConfiguration)
        return await self.running.application.apps.create(mode, f"an app for {mode}", made, a_context())

    async def new_token(self, *scopes: Scope) -> str:
        """The token of a new operator."""
        return (await self.running.application.operators.issue("someone", scopes, a_context())).token

    def client(self, credential: str | None = None) -> httpx.AsyncClient:
        """A client with this credential, closed with the server."""
        headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
        made = httpx.AsyncClient(verify=NO_TLS, base_url=self.base_url, headers=headers, timeout=DEADLINE)
        self.clients.append(made)
        return made

    async def new_client(self, mode: AppMode = "chat", **script: Any) -> httpx.AsyncClient:
        """A client with the key of a new app."""
        return self.client(await self.new_key(mode, **script))

    async def new_visitor(self, site_code: str) -> httpx.AsyncClient:
        """A client with the passport of a new visitor."""
        return self.client(await self.new_passport(site_code))

    async def new_passport(self, site_code: str, **headers: str) -> str:
        """A visitor's passport; a new visitor's unless the headers present one."""
        response = await self.client().get("/api/passport", headers={"X-App-Code": site_code} | headers)
        assert response.status_code == 200, response.text
        token: str = response.json()["access_token"]
        return token

    async def head(self) -> int:
        """The last position of the ledger."""
        return (await self.running.store.head()).position

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """Nothing can be read from the store while inside."""

        async def fail(*_: object) -> None:
            raise StorageUnavailableError("the database is away")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(self.running.reader, "query", fail)
            yield


def a_context() -> Context:
    """The metadata of what a test does itself."""
    return Context(actor=SYSTEM, correlation_id=uuid.uuid4())


@asynccontextmanager
async def live_server(
    data_dir: Path,
    *,
    kind: ServerKind = "granian",
    http: HttpSettings | None = None,
    port: int = 0,
    generators: Sequence[Generator] = (),
    with_worker: bool = True,
    **settings: Any,
) -> AsyncIterator[LiveServer]:
    """Open a chatledger in this folder and serve it while inside."""
    http, shutdown = http or HttpSettings(), Shutdown()
    # A notary of its own accord would write between two looks at the ledger's end.
    quiet: dict[str, Any] = {"shutdown_grace": 1, "checkpoint_interval": 0}
    opening = open_chatledger(
        Settings(data_dir=data_dir, **quiet | settings), generators=generators, with_worker=with_worker
    )
    async with opening as running:
        app = create_http_app(running.application, http, running.writer.require_writable, shutdown)
        async with serving(
            app, host="127.0.0.1", port=port, max_open_streams=http.max_open_streams, kind=kind
        ) as bound_port:
            live = LiveServer(f"http://127.0.0.1:{bound_port}", running, shutdown)
            try:
                yield live
            finally:
                shutdown.draining.set()
                running.application.following.close()
                for client in live.clients:
                    await client.aclose()


def frames_of(text: str) -> list[str]:
    """The blocks of an event stream."""
    return [block for block in text.split("\n\n") if block]


def events_of(text: str) -> list[dict[str, Any]]:
    """The JSON events of an event stream, each as it is described; pings and ids are no such events."""
    events = [json.loads(block[6:]) for block in frames_of(text) if block.startswith("data: ")]
    for event in events:
        assert json.loads(msgspec.json.encode(msgspec.convert(event, StreamEvent))) == event
    return events


def answer_of(events: Sequence[dict[str, Any]]) -> str:
    """The text that a client shows after these events."""
    shown = ""
    for event in events:
        if event["event"] in ("message", "agent_message"):
            shown += event["answer"]
        elif event["event"] == "message_replace":
            shown = event["answer"]
    return shown


async def until(condition: Callable[[], Awaitable[bool]], within: float = DEADLINE) -> None:
    """Wait for a state; fail if it does not come."""
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110 - the state is another's: there is no event to wait for
            await asyncio.sleep(0.01)


def chat_body(query: str = "hello", user: str = "ada", **more: Any) -> dict[str, Any]:
    """A body for the send routes."""
    return {"inputs": {}, "query": query, "user": user} | more
