"""``kill -9`` while a hundred clients send one message under one key: one answer, and a hundred equal streams."""

import asyncio
import json
import random
from collections.abc import Sequence

import httpx
import pytest

from tests.faults.checking import TERMINAL, events_of, words
from tests.faults.clients import PATIENCE, PAUSE, SECONDS, Place, Streaming
from tests.faults.findings import Findings, Round
from tests.faults.servers import MortalServer, check_read_models
from tests.support.process import run_json

pytestmark = pytest.mark.faults

CLIENTS = 100
TOKENS = 60
QUERY = f"/script tokens={TOKENS} interval_ms={1_000 * SECONDS / TOKENS:g} first_token_ms=5 vary_by_attempt=true"
BEGIN_WITHIN = 0.8
"""Seconds in which the clients begin, half of them at once."""
KILLED_WITHIN = 0.85 * SECONDS
"""The answer is not at its end by then: a kill that nobody notices is none."""
OF_KILLS = 3
"""One in so many of the kills that are asked for: a hundred clients cost as much as all others of a round."""


class KeyedSender(Streaming):
    """Sends the same under the same key, from the beginning, until the answer is at its end.

    Attributes:
        tries: the blocks that each connection gave up to the last event, pings aside. A kill may come between that
            event and its id.
    """

    def __init__(self, name: str, number: int, place: Place, chance: random.Random) -> None:
        super().__init__(f"{name}-{number}", name, place, QUERY)
        self.tries: list[list[str]] = []
        self._key = f"key-of-{name}"
        self._begins_after = chance.choice((0, chance.uniform(0, BEGIN_WITHIN)))
        self._hangs_up_after = chance.choice((None, None, None, None, chance.randrange(2 * TOKENS)))

    async def live(self) -> None:
        await asyncio.sleep(self._begins_after)
        while not self.is_ended:
            self._begin_anew()
            self.tries.append([])
            body = self._body | {"response_mode": "streaming"}
            headers = {"Idempotency-Key": self._key, "X-Stream-Ids": "1"}
            await self._listen("POST", "/v1/chat-messages", json=body, headers=headers)
            await asyncio.sleep(PAUSE)

    def _take(self, block: str) -> None:
        if block == "event: ping":
            return
        if len(self.tries[-1]) == self._hangs_up_after:
            self._hangs_up_after = None
            raise httpx.TransportError("hung up")
        if not self.is_ended:
            self.tries[-1].append(block)
        super()._take(block)


@pytest.mark.timeout(900)
async def test_of_a_hundred_who_send_under_one_key_each_holds_the_one_answer(data_folder, seeds, findings: Findings):
    created = run_json(data_folder, "apps", "create", "--mode", "chat", "--name", "x", "--generator", "scripted")
    async with Place(created["api_key"]) as place, MortalServer(data_folder, place) as server:
        for seed in seeds[::OF_KILLS]:
            await one_kill(server, place, seed, findings)
        await server.kill()
    check_read_models(data_folder)


async def one_kill(server: MortalServer, place: Place, seed: int, findings: Findings) -> None:
    chance = random.Random(seed)
    clients = [KeyedSender(f"sender-{seed}", number, place, chance) for number in range(CLIENTS)]
    with findings.round("kill -9, one key", seed, clients) as found:
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as sending:
            for client in clients:
                sending.create_task(client.live())
            await asyncio.sleep(chance.uniform(0, KILLED_WITHIN))
            assert any(client.tries and not client.is_ended for client in clients), "nobody waits for an answer"
            await server.kill()
            await server.start()
        await check(clients, place, found)


async def check(clients: Sequence[KeyedSender], place: Place, found: Round) -> None:
    """All streams are one, of one message; and whatever a broken connection gave is the beginning of it."""
    whole = clients[0].tries[-1]
    for client in clients:
        assert client.tries[-1] == whole
        assert all(blocks == whole[: len(blocks)] for blocks in client.tries)

    listed = await place.get("/v1/conversations", params={"user": clients[0].user})
    (conversation,) = listed.json()["data"]
    page = await place.get("/v1/messages", params={"conversation_id": conversation["id"]})
    (message,) = page.json()["data"]
    found.ledger[message["id"]] = events = await events_of(place, message["id"])
    assert {(client.message_id, client.text) for client in clients} == {(message["id"], message["answer"])}

    kinds = [event["type"] for event in events]
    assert [kind for kind in kinds if kind in TERMINAL] == ["MessageCompleted"]
    assert message["answer"] == words(kinds.count("GenerationStarted"), TOKENS)
    assert json.loads(whole[0].removeprefix("data: "))["message_id"] == message["id"]
    found.count(messages=1, characters=sum(client.received for client in clients), ends={1: 1})
