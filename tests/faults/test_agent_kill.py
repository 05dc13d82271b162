"""``kill -9`` in the middle of agents' steps: what is kept is of one attempt, its thoughts and its files."""

import asyncio
import random
from typing import Any

import httpx
import pytest

from tests.faults.checking import ended, events_of
from tests.support.process import ServerProcess, run_command, run_json
from tests.support.tls import NO_TLS

pytestmark = pytest.mark.faults

AGENTS = 8
STEPS = 3
SCRIPT = f"/script steps={STEPS} tool_ms=150 makes_files=true tokens=20 interval_ms=10 vary_by_attempt=true"


async def send(client: httpx.AsyncClient, user: str) -> str:
    body = {"query": SCRIPT, "user": user, "inputs": {}, "response_mode": "async"}
    sent = await client.post("/v1/chat-messages", json=body)
    assert sent.status_code == 202, sent.text
    return sent.json()["message_id"]


async def is_in_a_step(client: httpx.AsyncClient, message_id: str) -> bool:
    types = [event["type"] for event in await events_of(client, message_id)]
    return types.count("AgentThoughtRecorded") > 1 and "MessageCompleted" not in types


async def test_a_kill_splices_no_steps(data_folder):
    created = run_json(data_folder, "apps", "create", "--mode", "agent-chat", "--name", "x", "--generator", "scripted")
    key = {"Authorization": f"Bearer {created['api_key']}"}

    with ServerProcess(data_folder) as server:
        async with httpx.AsyncClient(verify=NO_TLS, base_url=server.url, headers=key, timeout=30) as client:
            messages = [await send(client, f"user {number}") for number in range(AGENTS)]
            async with asyncio.timeout(20):
                while not await is_in_a_step(client, messages[0]):  # noqa: ASYNC110 - the state is another process's
                    await asyncio.sleep(0.01)
            await asyncio.sleep(random.Random(1).uniform(0, 0.2))
            server.kill()

    with ServerProcess(data_folder) as server:
        async with httpx.AsyncClient(verify=NO_TLS, base_url=server.url, headers=key, timeout=30) as client:
            attempts = [await check(client, message_id) for message_id in messages]
    assert max(attempts) > 1
    result = run_command(data_folder, "rebuild", "--check")
    assert result.returncode == 0, result.stdout + result.stderr


async def check(client: httpx.AsyncClient, message_id: str) -> int:
    """The attempt that answered, once it is sure that nothing is kept of another."""
    assert await ended(client, message_id) == ["MessageCompleted"]
    attempts = [event["data"].get("attempt", 0) for event in await events_of(client, message_id)]
    number = max(attempts)
    said = [f"a{number}s{step}" for step in range(1, STEPS + 1)]
    spoken = "".join(f"a{number}t{token} " for token in range(20))
    message: dict[str, Any] = (await client.get(f"/v1/messages/{message_id}")).json()
    assert message["answer"] == "\n".join([*said, spoken.strip()])
    assert [each["thought"] for each in message["agent_thoughts"]] == [*(f"{word} " for word in said), spoken]
    files = [each["filename"] for each in message["message_files"]]
    assert files == [f"step-{step}.txt" for step in range(1, STEPS + 1)]
    assert [each["files"] for each in message["agent_thoughts"]] == [
        *([each["id"]] for each in message["message_files"]),
        [],
    ]
    return number
