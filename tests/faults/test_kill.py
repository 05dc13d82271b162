"""``kill -9`` in the middle of many streams: every message ends once, and nobody was told a lie.

More of them: ``./test tests/faults --kills 20``.
"""

import asyncio
import random

import httpx
import pytest

from tests.faults.clients import Transcript, ask, resume
from tests.support.process import ServerProcess, run_command, run_json

pytestmark = pytest.mark.faults

STREAMS = 20
TOKENS = 150
SCRIPT = f"/script tokens={TOKENS} interval_ms=10 first_token_ms=5 vary_by_attempt=true"
TERMINAL = {"MessageCompleted", "MessageStopped", "MessageErrored"}


def words(attempt: int, count: int = TOKENS) -> str:
    return "".join(f"a{attempt}t{number} " for number in range(count))


async def test_a_kill_loses_doubles_and_splices_nothing(data_folder, seed):
    chance = random.Random(seed)
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    key = {"Authorization": f"Bearer {created['api_key']}"}

    with ServerProcess(data_folder) as server:
        async with httpx.AsyncClient(base_url=server.url, headers=key, timeout=30) as client:
            transcripts = [Transcript() for _ in range(STREAMS)]
            asking = [
                asyncio.create_task(ask(client, f"user {number}", SCRIPT, transcript))
                for number, transcript in enumerate(transcripts)
            ]
            await some_text(transcripts)
            await asyncio.sleep(chance.uniform(0, 1.3))
            server.kill()
            await asyncio.gather(*asking)
            assert any(transcript.before and not transcript.is_ended for transcript in transcripts)

    with ServerProcess(data_folder) as server:
        async with httpx.AsyncClient(base_url=server.url, headers=key, timeout=30) as client:
            known = [transcript for transcript in transcripts if transcript.message_id]
            await asyncio.gather(*(resume(client, transcript) for transcript in known if not transcript.is_ended))
            for transcript in known:
                await check(client, transcript)
            await check_every_message_ended_once(client)
    result = run_command(data_folder, "rebuild", "--check")
    assert result.returncode == 0, result.stdout + result.stderr


async def some_text(transcripts: list[Transcript]) -> None:
    async with asyncio.timeout(20):
        while not any(transcript.text for transcript in transcripts):  # noqa: ASYNC110 - what a client shows is no state that could be signalled
            await asyncio.sleep(0.002)


async def check(client: httpx.AsyncClient, transcript: Transcript) -> None:
    assert transcript.is_ended
    message = (await client.get(f"/v1/messages/{transcript.message_id}")).json()
    assert transcript.text == message["answer"]
    attempt = 2 if len(transcript.before) < len(words(1)) else 1
    assert message["answer"] in {words(1), words(attempt)}
    events = await events_of(client, transcript.message_id)
    first_attempt = "".join(
        event["data"]["text"]
        for event in events
        if event["type"] == "AnswerChunkAppended" and event["data"]["attempt"] == 1
    )
    assert first_attempt.startswith(transcript.before), "a client had received what the ledger does not know"
    assert sum(event["type"] in TERMINAL for event in events) == 1


async def check_every_message_ended_once(client: httpx.AsyncClient) -> None:
    """Those included whose client was never told their id."""
    for number in range(STREAMS):
        listed = await client.get("/v1/conversations", params={"user": f"user {number}"})
        for conversation in listed.json()["data"]:
            page = await client.get("/v1/messages", params={"conversation_id": conversation["id"]})
            for message in page.json()["data"]:
                status = await ended(client, message["id"])
                assert status == ["MessageCompleted"]


async def ended(client: httpx.AsyncClient, message_id: str) -> list[str]:
    async with asyncio.timeout(20):
        while True:
            types = [event["type"] for event in await events_of(client, message_id)]
            if terminal := [kind for kind in types if kind in TERMINAL]:
                return terminal
            await asyncio.sleep(0.02)


async def events_of(client: httpx.AsyncClient, message_id: str | None) -> list[dict]:
    events: list[dict] = []
    cursor = ""
    while True:
        answer = await client.get(f"/v1/messages/{message_id}/events", params={"limit": 100, "cursor": cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        events += page["data"]
        if not page["has_more"]:
            return events
        cursor = page["cursor"]
