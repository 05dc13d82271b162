"""Clients as there are many: they send, follow or poll, and when the server is gone they come back as soon as it is."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

from tests.faults.recording import Recording
from tests.support.tls import NO_TLS

TOKENS = 150
SECONDS = 1.5
"""How long an answer takes."""

OVER = {"completed", "stopped", "errored"}
PATIENCE = 60.0
PAUSE = 0.05
LONG_PAUSE = 0.25
"""Seconds between two questions to a server that says that it is not its day."""


def script_of(seconds: float) -> str:
    """What makes an answer take so long."""
    return f"/script tokens={TOKENS} interval_ms={1_000 * seconds / TOKENS:g} first_token_ms=5 vary_by_attempt=true"


SCRIPT = script_of(SECONDS)


class Place:
    """Where clients find the servers, which die and come back under other addresses. Closed at the end."""

    def __init__(self, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.AsyncClient(
            verify=NO_TLS, headers=headers, timeout=PATIENCE, limits=httpx.Limits(max_connections=None)
        )
        self._is_open = asyncio.Event()
        self._urls: Iterator[str] = iter(())

    def open(self, *urls: str) -> None:
        """The servers are here from now on. Each request goes to the next of them."""
        self._urls = itertools.cycle(urls)
        self._is_open.set()

    def close(self) -> None:
        """There is no server: whoever asks waits."""
        self._is_open.clear()

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """Ask the server that is there, or the next one."""
        await self._is_open.wait()
        return await self._http.get(next(self._urls) + path, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        """Tell the server that is there, or the next one."""
        await self._is_open.wait()
        return await self._http.post(next(self._urls) + path, **options)

    @asynccontextmanager
    async def stream(self, method: str, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        """An answer that comes by and by."""
        await self._is_open.wait()
        async with self._http.stream(method, next(self._urls) + path, **options) as response:
            yield response

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()


class Client:
    """One client and one message.

    Attributes:
        user: who asks.
        message_id: of the message, once the client was told it or has found it.
        is_told: set when it knows the message's id, or that there is no such message.
        text: what the client shows. What had no id when a connection broke does not count: it is sent again.
        shown: what it showed at each version of the message that it was told.
        received: how many characters of answers it was sent, those included that were replaced later.
        replacements: how often it was told to show something else.
        is_ended: whether it knows that the answer is at its end.
    """

    def __init__(self, name: str, user: str, place: Place, script: str = SCRIPT) -> None:
        self.recording = Recording(name)
        self.user = user
        self.message_id: str | None = None
        self.is_told = asyncio.Event()
        self.text = ""
        self.shown: list[tuple[int, str]] = []
        self.received = 0
        self.replacements = 0
        self.is_ended = False
        self._place = place
        self._script = script

    async def live(self) -> None:
        """Ask, and go on until the answer is there."""
        raise NotImplementedError

    def _learn(self, message_id: str) -> None:
        self.message_id = message_id
        self.is_told.set()

    @property
    def _body(self) -> dict[str, Any]:
        return {"query": self._script, "user": self.user, "inputs": {}}

    async def _exchange(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """A whole answer; None where the server is gone, or says that it is not its day."""
        self.recording.request(f"{method} {path}")
        try:
            async with self._place.stream(method, path, **options) as response:
                self.recording.status(response.status_code)
                body = (await response.aread()).decode()
        except httpx.TransportError as error:
            self.recording.end(type(error).__name__)
            return None
        self.recording.block(body)
        self.recording.end("closed")
        if response.status_code == 503:
            assert response.json()["code"] == "service_unavailable", body
            await asyncio.sleep(LONG_PAUSE)
            return None
        assert response.is_success, body
        return response

    async def _get(self, path: str, **options: Any) -> Any:
        """The JSON at a path, asked for until there is an answer."""
        while (response := await self._exchange("GET", path, **options)) is None:  # noqa: ASYNC110 - as clients do
            await asyncio.sleep(PAUSE)
        return response.json()

    async def _find(self) -> None:
        """Look for the message in the list of the user's conversations; one that was never committed is not there."""
        listed = await self._get("/v1/conversations", params={"user": self.user})
        for conversation in listed["data"]:
            page = await self._get("/v1/messages", params={"user": self.user, "conversation_id": conversation["id"]})
            for message in page["data"]:
                self._learn(message["id"])

    async def _poll(self) -> None:
        """Ask for the state of the task until it is over, and then for the answer."""
        if self.message_id is None:
            return
        path = f"/v1/messages/{self.message_id}"
        created = (await self._get(f"{path}/events", params={"limit": 1}))["data"][0]
        task = f"/v1/tasks/{created['data']['task_id']}"
        while (await self._get(task))["status"] not in OVER:  # noqa: ASYNC110 - that is what polling is
            await asyncio.sleep(2 * PAUSE)
        self._take_whole((await self._get(path))["answer"])

    def _take_whole(self, answer: str) -> None:
        self.text = answer
        self.received += len(answer)
        self.is_ended = True


class Streaming(Client):
    """Whoever is told by an event stream, and resumes it where it broke.

    Args:
        by_query: say by the query, and not by the header, where to go on.
    """

    def __init__(self, *arguments: Any, by_query: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._by_query = by_query
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Have nothing yet."""
        self._last_id = ""
        self._at_last_id = "", 0

    async def _resume(self) -> None:
        """Go on where the connection broke, as often as it breaks."""
        while not self.is_ended:
            point = {"params": {"after": self._last_id}} if self._by_query else {}
            if self._last_id and not self._by_query:
                point = {"headers": {"Last-Event-ID": self._last_id}}
            await self._listen("GET", f"/v1/messages/{self.message_id}/stream", **point)
            await asyncio.sleep(PAUSE)

    async def _listen(self, method: str, path: str, **options: Any) -> None:
        """Take block after block; half a block at the end of a broken connection was never received."""
        self.recording.request(f"{method} {path} after {self._last_id or 'nothing'}")
        self.text, self.replacements = self._at_last_id
        rest = ""
        try:
            async with self._place.stream(method, path, **options) as response:
                if not await self._has_begun(response):
                    return
                async for piece in response.aiter_text():
                    *blocks, rest = (rest + piece).split("\n\n")
                    for block in blocks:
                        self.recording.block(block)
                        self._take(block)
        except httpx.TransportError as error:
            self.recording.end(type(error).__name__)
        else:
            self.recording.end("closed")

    async def _has_begun(self, response: httpx.Response) -> bool:
        """Whether a stream has; if not, the server says that it is not its day."""
        self.recording.status(response.status_code)
        if response.status_code == 200:
            return True
        body = (await response.aread()).decode()
        self.recording.block(body)
        assert (response.status_code, json.loads(body)["code"]) == (503, "service_unavailable"), body
        self.recording.end("closed")
        await asyncio.sleep(LONG_PAUSE)
        return False

    def _take(self, block: str) -> None:
        if block.startswith("id: "):
            self._last_id = block.removeprefix("id: ")
            self._at_last_id = self.text, self.replacements
            self.shown.append((int(self._last_id.rpartition(":")[2]), self.text))
        elif block.startswith("data: "):
            self._take_event(json.loads(block.removeprefix("data: ")))
        else:
            assert block in {"event: ping", "retry: 1000"}, block

    def _take_event(self, event: dict[str, Any]) -> None:
        assert not self.is_ended, f"{self.recording.client}: an event after the last one"
        self._learn(event["message_id"])
        match event["event"]:
            case "message":
                self.text += event["answer"]
                self.received += len(event["answer"])
            case "message_replace":
                self.text = event["answer"]
                self.received += len(event["answer"])
                self.replacements += 1
            case "message_end" | "error":
                self.is_ended = True
            case other:
                raise AssertionError(other)


class StreamSender(Streaming):
    """Sends by Dify's stream, with ids; a stream that broke is resumed as the message's own."""

    async def live(self) -> None:
        await self._listen(
            "POST",
            "/v1/chat-messages",
            json=self._body | {"response_mode": "streaming"},
            headers={"X-Stream-Ids": "1"},
        )
        if self.message_id is None:
            await self._find()
        if self.message_id is not None:
            await self._resume()


class Follower(Streaming):
    """Follows what another has sent, as soon as that one knows what it is called."""

    def __init__(self, name: str, sender: Client, place: Place, *, by_query: bool = False) -> None:
        super().__init__(name, sender.user, place, by_query=by_query)
        self._sender = sender

    async def live(self) -> None:
        await self._sender.is_told.wait()
        if self._sender.message_id is not None:
            self._learn(self._sender.message_id)
            await self._resume()


class BlockingSender(Client):
    """Waits for the whole answer; whoever was cut off looks for it until it is there."""

    async def live(self) -> None:
        response = await self._exchange("POST", "/v1/chat-messages", json=self._body | {"response_mode": "blocking"})
        if response is None:
            await self._find()
            await self._poll()
        else:
            self._learn(response.json()["message_id"])
            self._take_whole(response.json()["answer"])


class AsyncSender(Client):
    """Waits for nothing, and looks for the answer until it is there."""

    async def live(self) -> None:
        response = await self._exchange("POST", "/v1/chat-messages", json=self._body | {"response_mode": "async"})
        if response is None:
            await self._find()
        else:
            self._learn(response.json()["message_id"])
        await self._poll()
