"""``kill -9`` of a server that tells a receiver, which fails at random: nothing is left out, and nothing overtakes.

More of them: ``./faults --only webhooks_kill``.
"""

import asyncio
import random
from collections import defaultdict
from typing import Any

import httpx
import pytest

from tests.support.databases import ON_SQLITE
from tests.support.process import ServerProcess, run_json
from tests.support.receiver import CUT, Answer, Hook, Receiver
from tests.support.tls import NO_TLS

pytestmark = [pytest.mark.faults, ON_SQLITE]

TYPES = ("ConversationStarted", "MessageCreated", "GenerationStarted", "AnswerChunkAppended", "MessageCompleted")
CONVERSATIONS = 5
END_WITHIN = 60.0
ENVIRONMENT = {
    "CHATLEDGER_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "CHATLEDGER_FIRST_WEBHOOK_DELAY": "0.02",
    "CHATLEDGER_LONGEST_WEBHOOK_DELAY": "0.3",
    "CHATLEDGER_WEBHOOK_ATTEMPTS": "100",
    "CHATLEDGER_FLUSH_INTERVAL_MS": "0",
    "CHATLEDGER_LEASE": "1",
    "CHATLEDGER_HEARTBEAT": "0.2",
}


class Unruly(Receiver):
    """A receiver that takes seven in ten, and says nothing, or no, to the others."""

    def __init__(self, seed: int) -> None:
        super().__init__(reply=self._reply)
        self._chance = random.Random(seed)
        self.taken: list[Hook] = []

    def _reply(self, hook: Hook) -> Answer:
        fate = self._chance.random()
        if fate < 0.2:
            return Answer(self._chance.choice((400, 429, 500, 503)))
        if fate < 0.3:
            return CUT
        self.taken.append(hook)
        return Answer()


async def talk(server: ServerProcess, app: dict[str, str], seed: int) -> None:
    """Several conversations at once, until the server is gone."""
    headers = {"Authorization": f"Bearer {app['api_key']}"}

    async def one(number: int) -> None:
        conversation = ""
        while True:
            body = {"query": f"{seed}.{number}", "user": f"u{number}", "inputs": {}, "conversation_id": conversation}
            answer = await client.post("/v1/chat-messages", json=body)
            conversation = answer.json().get("conversation_id", "")

    async with httpx.AsyncClient(base_url=server.url, headers=headers, verify=NO_TLS, timeout=30) as client:
        await asyncio.gather(*(one(number) for number in range(CONVERSATIONS)), return_exceptions=True)


async def wanted_events(server: ServerProcess, app: dict[str, str]) -> list[dict[str, Any]]:
    """What the endpoint has to be told, by the feed."""
    headers, events, after = {"Authorization": f"Bearer {app['api_key']}"}, [], None
    async with httpx.AsyncClient(base_url=server.url, headers=headers, verify=NO_TLS, timeout=30) as client:
        while True:
            params = {"types": ",".join(TYPES), "limit": "100"} | ({"after": after} if after else {})
            page = (await client.get("/v1/events", params=params)).json()
            events += page["data"]
            after = page["cursor"]
            if not page["has_more"]:
                return events


async def test_nothing_is_left_out_and_nothing_overtakes(data_folder, seeds):
    scripted = ("--generator", "scripted", "--set", "tokens=3", "--set", "interval_ms=5")
    app = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "A", *scripted, env=ENVIRONMENT)
    async with Unruly(seeds[0]) as receiver:
        types = [part for name in TYPES for part in ("--type", name)]
        added = run_json(data_folder, "webhooks", "add", receiver.url, "--app", app["app_id"], *types, env=ENVIRONMENT)
        for seed in seeds:
            server = ServerProcess(data_folder, env=ENVIRONMENT)
            await asyncio.to_thread(server.start)
            talking = asyncio.create_task(talk(server, app, seed))
            await asyncio.sleep(random.Random(seed).uniform(0.3, 1.2))
            server.kill()
            await talking
        server = ServerProcess(data_folder, env=ENVIRONMENT)
        await asyncio.to_thread(server.start)
        try:
            async with asyncio.timeout(END_WITHIN):
                wanted = await wanted_events(server, app)
                while {event["id"] for event in wanted} - {hook.event["id"] for hook in receiver.taken}:
                    await asyncio.sleep(0.05)
                    wanted = await wanted_events(server, app)
        finally:
            server.kill()
    assert len(wanted) > 20 * len(seeds)
    check(wanted, receiver.taken, added["secret"])


def check(wanted: list[dict[str, Any]], taken: list[Hook], secret: str) -> None:
    """Each event as the feed has it, under one id; and those of a conversation in order, the first time of each."""
    by_id = {event["id"]: event for event in wanted}
    conversation_of = {
        event["subject"]: event["data"]["conversation_id"] for event in wanted if "conversation_id" in event["data"]
    }
    ids: dict[str, str] = {}
    told: dict[str, list[int]] = defaultdict(list)
    for hook in taken:
        event = hook.verified(secret)
        assert event == by_id[event["id"]]
        if event["id"] not in ids:
            ids[event["id"]] = hook.id
            told[conversation_of.get(event["subject"], event["subject"])].append(int(event["sequence"]))
        assert ids[event["id"]] == hook.id
    assert ids.keys() == by_id.keys()
    assert len(set(ids.values())) == len(ids)
    for order in told.values():
        assert order == sorted(order)
