"""A client that writes down what it was told, and can tell whether it was told the truth."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Transcript:
    """What one client received of one message.

    Attributes:
        last_id: the last event id, ``message id:version``.
        text: what the client shows.
        before: what it showed, of which attempt's words, when its connection broke.
        is_ended: whether the last event of the message has come.
    """

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


async def read_blocks(response: httpx.Response, transcript: Transcript) -> None:
    """Take block after block; half a block at the end of a broken connection was never received."""
    rest = ""
    async for piece in response.aiter_text():
        *blocks, rest = (rest + piece).split("\n\n")
        for block in blocks:
            transcript.take(block)


async def ask(client: httpx.AsyncClient, user: str, query: str, transcript: Transcript) -> None:
    """Send a message and listen until the end, or until the connection breaks."""
    body = {"query": query, "user": user, "inputs": {}, "response_mode": "streaming"}
    try:
        async with client.stream("POST", "/v1/chat-messages", json=body, headers={"X-Stream-Ids": "1"}) as response:
            assert response.status_code == 200, await response.aread()
            await read_blocks(response, transcript)
    except httpx.TransportError:
        pass
    transcript.before = transcript.text


async def resume(client: httpx.AsyncClient, transcript: Transcript) -> None:
    """Go on where the connection broke."""
    headers = {"Last-Event-ID": transcript.last_id} if transcript.last_id else {}
    async with client.stream("GET", f"/v1/messages/{transcript.message_id}/stream", headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        await read_blocks(response, transcript)
