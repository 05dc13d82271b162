"""``kill -9`` while one answers, others wait and one interrupts: the next server keeps the order, and what was read."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.application.chat import until
from tests.support.fake_openai import FakeOpenAI, Received, Stream, answer
from tests.support.process import ServerProcess, run_command, run_json
from tests.support.tls import NO_TLS

pytestmark = pytest.mark.faults

IN_TURN = ("one", "two", "three")
KEY = {"MY_PROVIDER_KEY": "secret"}


def replying(request: Received) -> Stream:
    """To ``slow`` it says a word each 100 ms, to anything else one word."""
    asked = request.body["messages"][-1]["content"]
    return answer(*(f"word{n} " for n in range(100)), pace=0.1) if asked == "slow" else answer(f"{asked}!")


class Talk:
    """A conversation that outlives its server."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    async def send(self, client: httpx.AsyncClient, query: str, on_busy: str) -> None:
        conversation_id = self.sent[0]["conversation_id"] if self.sent else None
        body = {"inputs": {}, "query": query, "user": "ada", "conversation_id": conversation_id}
        sent = await client.post("/v1/chat-messages", json=body | {"on_busy": on_busy, "response_mode": "async"})
        assert sent.status_code == 202, sent.text
        self.sent.append(sent.json())

    async def begin(self, client: httpx.AsyncClient, *waiting: str) -> None:
        """One answer is being given, and these wait."""
        await self.send(client, "slow", "queue")
        await until(lambda: self.shown(client))
        for query in waiting:
            await self.send(client, query, "queue")

    async def shown(self, client: httpx.AsyncClient) -> str:
        """What the first one has been answered."""
        text: str = (await client.get(f"/v1/messages/{self.sent[0]['message_id']}")).json()["answer"]
        return text

    async def ends(self, client: httpx.AsyncClient) -> list[str]:
        async def tasks() -> list[dict[str, Any]]:
            return [(await client.get(f"/v1/tasks/{sent['task_id']}")).json() for sent in self.sent]

        async def have_ended() -> bool:
            return all(task["ended_at"] for task in await tasks())

        await until(have_ended)
        return [task["status"] for task in await tasks()]


@asynccontextmanager
async def serving(data_folder: Path, key: str) -> AsyncIterator[tuple[ServerProcess, httpx.AsyncClient]]:
    server = ServerProcess(data_folder, env=KEY)
    await asyncio.to_thread(server.start)
    try:
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(verify=NO_TLS, base_url=server.url, headers=headers, timeout=30) as client:
            yield server, client
    finally:
        server.kill()


def prompts(provider: FakeOpenAI, query: str) -> list[list[tuple[str, str]]]:
    """What had been said, in the words of each request that asked this."""
    asked = [[message["content"] for message in request.body["messages"]] for request in provider.requests]
    return [list(zip(texts[:-1:2], texts[1::2], strict=True)) for texts in asked if texts[-1] == query]


def check_prompts(provider: FakeOpenAI, slow: str, queries: Sequence[str]) -> None:
    """Each had read all that was said before it, and nothing else, however often it was asked."""
    said = [("slow", slow)] if slow else []
    for query in queries:
        read = prompts(provider, query)
        assert read
        assert all(exchanges == said for exchanges in read)
        said.append((query, f"{query}!"))


async def test_turns_outlive_a_kill(data_folder):
    in_turn, interrupted = Talk(), Talk()
    async with FakeOpenAI() as provider:
        provider.always("/chat/completions", replying)
        settings = [f"base_url={provider.base_url}", "model=fake", "api_key_env=MY_PROVIDER_KEY"]
        options = [option for setting in settings for option in ("--set", setting)]
        creating = ("apps", "create", "--mode", "chat", "--name", "x", "--generator", "openai_compatible", *options)
        key = (await asyncio.to_thread(run_json, data_folder, *creating, env=KEY))["api_key"]

        async with serving(data_folder, key) as (server, client):
            await in_turn.begin(client, *IN_TURN)
            await interrupted.begin(client, "four", "five", "six")
            await interrupted.send(client, "last", "interrupt")
            server.kill()
        assert not any(prompts(provider, query) for query in IN_TURN)

        async with serving(data_folder, key) as (_, client):
            await until(lambda: in_turn.shown(client))
            task = (await client.get(f"/v1/tasks/{in_turn.sent[-1]['task_id']}")).json()
            assert (task["status"], task["ahead"]) == ("queued", len(IN_TURN))
            await client.post(f"/v1/chat-messages/{in_turn.sent[0]['task_id']}/stop", json={"user": "ada"})
            assert await in_turn.ends(client) == ["stopped", *["completed"] * len(IN_TURN)]
            assert await interrupted.ends(client) == [*["stopped"] * 4, "completed"]
            check_prompts(provider, await in_turn.shown(client), IN_TURN)
            check_prompts(provider, await interrupted.shown(client), ["last"])
            assert not any(prompts(provider, query) for query in ("four", "five", "six"))
    result = await asyncio.to_thread(run_command, data_folder, "rebuild", "--check")
    assert result.returncode == 0, result.stdout + result.stderr
