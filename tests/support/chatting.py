"""What a client of the message API does, over HTTP."""

import asyncio
import json
from typing import Any

import httpx

from tests.support.server import chat_body, frames_of


async def ask(client: httpx.AsyncClient, query: str = "hello", **more: Any) -> dict[str, Any]:
    """A blocking answer."""
    response = await client.post("/v1/chat-messages", json=chat_body(query, **more))
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def complete(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    """A blocking completion."""
    body = {"inputs": {}, "query": "/script tokens=3 text='a poem'", "user": "ada"} | more
    response = await client.post("/v1/completion-messages", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def stream(client: httpx.AsyncClient, query: str = "hello", **more: Any) -> str:
    """A whole stream, as it came."""
    response = await client.post("/v1/chat-messages", json=chat_body(query, response_mode="streaming", **more))
    assert response.status_code == 200, response.text
    return response.text


async def begin(client: httpx.AsyncClient, query: str, **more: Any) -> tuple[dict[str, Any], "asyncio.Task[str]"]:
    """The first event of a stream, and the whole of it when it has ended."""
    first: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def read() -> str:
        body = chat_body(query, response_mode="streaming", **more)
        async with client.stream("POST", "/v1/chat-messages", json=body) as response:
            text = ""
            async for chunk in response.aiter_text():
                text += chunk
                if not first.done() and "\n\n" in text:
                    first.set_result(json.loads(frames_of(text)[0][6:]))
            return text

    task = asyncio.create_task(read())
    return await first, task


async def history(client: httpx.AsyncClient, conversation_id: str, **more: Any) -> dict[str, Any]:
    """A page of a conversation."""
    response = await client.get("/v1/messages", params={"conversation_id": conversation_id} | more)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page
