"""Clients that write down what they were told, and can tell whether they were told the truth."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

TOKENS = 150
SCRIPT = f"/script tokens={TOKENS} interval_ms=10 first_token_ms=5 vary_by_attempt=true"
TERMINAL = {"MessageCompleted", "MessageStopped", "MessageErrored"}

PATIENCE = 40.0


def words(attempt: int, count: int = TOKENS) -> str:
    return "".join(f"a{attempt}t{number} " for number in range(count))


@dataclass
class Transcript:
    """What one client received of one message.

    Attributes:
        user: who asked.
        last_id: the last event id, ``message id:version``.
        text: what the client shows.
        before: what it showed when its first connection ended.
        is_ended: whether the last event of the message has come.
    """

    user: str
    message_id: str | None = None
    last_id: str | None = None
    text: str = ""
    before: str = ""
    is_ended: bool = False
    kinds: list[str] = field(default_factory=list)

    def take(self, block: str) -> None:
        if block.startswith("id: "):
            self.last_id = block.removeprefix("id: ")
        elif block.startswith("data: "):
            self._take_event(json.loads(block.removeprefix("data: ")))
        else:
            assert block in {"event: ping", "retry: 1000"}, block

    def _take_event(self, event: dict[str, Any]) -> None:
        assert not self.is_ended, "an event after the last one"
        kind = event["event"]
        self.kinds.append(kind)
        self.message_id = event["message_id"]
        if kind == "message":
            self.text += event["answer"]
        elif kind == "message_replace":
            self.text = event["answer"]
        else:
            assert kind in {"message_end", "error"}, kind
            self.is_ended = True


class Crowd:
    """So many people who ask at once, each of them one question."""

    def __init__(self, count: int) -> None:
        self.transcripts = [Transcript(f"user {number}") for number in range(count)]
        self._asking: asyncio.Future[Any] | None = None

    @property
    def told(self) -> Sequence[Transcript]:
        """Those who know the id of their message."""
        return [transcript for transcript in self.transcripts if transcript.message_id]

    async def begin(self, client: httpx.AsyncClient) -> None:
        """Ask; until the first text is there."""
        self._asking = asyncio.gather(*(ask(client, transcript) for transcript in self.transcripts))
        async with asyncio.timeout(PATIENCE):
            while not any(transcript.text for transcript in self.transcripts):  # noqa: ASYNC110 - what a client shows is no state that could be signalled
                await asyncio.sleep(0.002)

    def is_listening(self) -> bool:
        """Whether somebody has seen a part of an answer, and not its end."""
        return any(transcript.text and not transcript.is_ended for transcript in self.transcripts)

    async def hang_up(self) -> None:
        """Until every connection has ended, in whatever way."""
        async with asyncio.timeout(PATIENCE):
            await self._asking

    async def resume(self, client: httpx.AsyncClient) -> None:
        """Go on where the connections broke, to the end."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(resume(client, transcript) for transcript in self.told))

    async def check(self, client: httpx.AsyncClient) -> None:
        """Nothing is lost, doubled or spliced, and every message ended once."""
        for transcript in self.told:
            await check(client, transcript)
        for transcript in self.transcripts:
            await check_every_message_ended_once(client, transcript.user)


async def read_blocks(response: httpx.Response, transcript: Transcript) -> None:
    """Take block after block; half a block at the end of a broken connection was never received."""
    rest = ""
    async for piece in response.aiter_text():
        *blocks, rest = (rest + piece).split("\n\n")
        for block in blocks:
            transcript.take(block)


async def ask(client: httpx.AsyncClient, transcript: Transcript) -> None:
    """Send a message and listen until the end, or until the connection breaks."""
    body = {"query": SCRIPT, "user": transcript.user, "inputs": {}, "response_mode": "streaming"}
    try:
        async with client.stream("POST", "/v1/chat-messages", json=body, headers={"X-Stream-Ids": "1"}) as response:
            if await has_begun(response):
                await read_blocks(response, transcript)
    except httpx.TransportError:
        pass
    transcript.before = transcript.text


async def resume(client: httpx.AsyncClient, transcript: Transcript) -> None:
    """Go on where the connection broke, as often as it breaks."""
    while not transcript.is_ended:
        headers = {"Last-Event-ID": transcript.last_id} if transcript.last_id else {}
        async with client.stream("GET", f"/v1/messages/{transcript.message_id}/stream", headers=headers) as response:
            if await has_begun(response):
                await read_blocks(response, transcript)
        await asyncio.sleep(0.05)


async def has_begun(response: httpx.Response) -> bool:
    """Whether a stream has; if not, the server says that it is not its day."""
    if response.status_code != 503:
        assert response.status_code == 200, await response.aread()
        return True
    assert json.loads(await response.aread())["code"] == "service_unavailable"
    return False


async def check(client: httpx.AsyncClient, transcript: Transcript) -> None:
    assert transcript.is_ended
    message = (await client.get(f"/v1/messages/{transcript.message_id}")).json()
    assert transcript.text == message["answer"]
    events = await events_of(client, transcript.message_id)
    assert sum(event["type"] in TERMINAL for event in events) == 1
    by_attempt: dict[int, str] = defaultdict(str)
    for event in events:
        if event["type"] == "AnswerChunkAppended":
            by_attempt[event["data"]["attempt"]] += event["data"]["text"]
    assert all(words(attempt).startswith(text) for attempt, text in by_attempt.items())
    assert message["answer"] == words(max(by_attempt))
    assert any(text.startswith(transcript.before) for text in by_attempt.values()), (
        "a client had received what the ledger does not know"
    )


async def check_every_message_ended_once(client: httpx.AsyncClient, user: str) -> None:
    """Those included whose client was never told their id."""
    listed = await client.get("/v1/conversations", params={"user": user})
    for conversation in listed.json()["data"]:
        page = await client.get("/v1/messages", params={"conversation_id": conversation["id"]})
        for message in page.json()["data"]:
            assert await ended(client, message["id"]) == ["MessageCompleted"]


async def ended(client: httpx.AsyncClient, message_id: str) -> list[str]:
    async with asyncio.timeout(PATIENCE):
        while True:
            types = [event["type"] for event in await events_of(client, message_id)]
            if terminal := [kind for kind in types if kind in TERMINAL]:
                return terminal
            await asyncio.sleep(0.02)


async def events_of(client: httpx.AsyncClient, message_id: str | None) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = await client.get(f"/v1/messages/{message_id}/events", params={"limit": 100, "cursor": cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        events += page["data"]
        if not page["has_more"]:
            return events
        cursor = page["cursor"]
