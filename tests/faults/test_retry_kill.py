"""``kill -9`` while a retry waits: it goes on waiting after the restart, and then the answer comes once."""

import asyncio
import time

import httpx
import pytest

from tests.faults.checking import ended, events_of
from tests.support.databases import ON_SQLITE
from tests.support.fake_openai import FakeOpenAI, Received, Refusal, Stream, answer
from tests.support.process import ServerProcess, run_json
from tests.support.tls import NO_TLS

pytestmark = pytest.mark.faults

LEFT_ALONE_FOR = 4
"""Seconds; less than a restart takes where the machine is busy, which is no matter."""


@ON_SQLITE
async def test_a_retry_that_waits_outlives_its_server(data_folder):
    asked_at: list[float] = []

    def respond(_: Received) -> Refusal | Stream:
        asked_at.append(time.time())
        if len(asked_at) == 1:
            return Refusal(429, {"error": {"message": "slowly"}}, {"Retry-After": str(LEFT_ALONE_FOR)})
        return answer("So ", "it ", "is.")

    async with FakeOpenAI() as provider:
        provider.always("/chat/completions", respond)
        generator = ("--generator", "openai_compatible", "--set", "model=m", "--set", f"base_url={provider.base_url}")
        app = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", *generator)
        key = {"Authorization": f"Bearer {app['api_key']}"}
        body = {
            "query": "Is it so?",
            "user": "ada",
            "inputs": {},
            "response_mode": "async",
            "auto_generate_name": False,
        }

        with ServerProcess(data_folder) as server:
            async with httpx.AsyncClient(verify=NO_TLS, base_url=server.url, headers=key, timeout=30) as client:
                sent = (await client.post("/v1/chat-messages", json=body)).json()
                async with asyncio.timeout(20):
                    while not await is_requeued(client, sent["message_id"]):  # noqa: ASYNC110 - another process's state
                        await asyncio.sleep(0.01)
                server.kill()

        restarted_at = time.time()
        with ServerProcess(data_folder) as server:
            async with httpx.AsyncClient(verify=NO_TLS, base_url=server.url, headers=key, timeout=30) as client:
                assert await ended(client, sent["message_id"]) == ["MessageCompleted"]
                message = (await client.get(f"/v1/messages/{sent['message_id']}")).json()
    assert message["answer"] == "So it is."
    assert len(asked_at) == 2
    assert asked_at[1] - asked_at[0] >= LEFT_ALONE_FOR
    assert asked_at[1] > restarted_at


async def is_requeued(client: httpx.AsyncClient, message_id: str) -> bool:
    return any(event["type"] == "GenerationRequeued" for event in await events_of(client, message_id))
