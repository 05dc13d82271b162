"""``kill -9`` of a server whose client is connected for an answer that is wanted only as long as somebody is."""

import json

import httpx
import pytest

from tests.faults.checking import ended, events_of
from tests.support.process import ServerProcess, run_json
from tests.support.tls import NO_TLS

pytestmark = pytest.mark.faults

BODY = {
    "query": "/script tokens=2 interval_ms=3600000",
    "user": "ada",
    "inputs": {},
    "response_mode": "streaming",
    "on_disconnect": "stop",
}


async def test_a_kill_is_no_disconnect_and_the_limit_outlives_it(data_folder):
    """What was delivered is kept, and no later attempt begins in its place."""
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    key = {"Authorization": f"Bearer {created['api_key']}"}

    with ServerProcess(data_folder) as server:
        async with (
            httpx.AsyncClient(verify=NO_TLS, base_url=server.url, headers=key, timeout=30) as client,
            client.stream("POST", "/v1/chat-messages", json=BODY) as response,
        ):
            lines = (line async for line in response.aiter_lines() if line.startswith("data: "))
            told = json.loads((await anext(lines)).removeprefix("data: "))
            server.kill()

    with ServerProcess(data_folder, env={"CHATLEDGER_GENERATION_TIMEOUT": "0.001"}) as server:
        async with httpx.AsyncClient(verify=NO_TLS, base_url=server.url, headers=key, timeout=30) as client:
            assert await ended(client, told["message_id"]) == ["MessageStopped"]
            events = await events_of(client, told["message_id"])
            assert events[-1]["data"]["by"] == "timeout"
            assert [event["type"] for event in events].count("GenerationStarted") == 1
            message = (await client.get(f"/v1/messages/{told['message_id']}")).json()
            assert message["answer"] == told["answer"] == "t0 "
