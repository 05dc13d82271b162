"""What clients were told, beside what the ledger says."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from tests.faults.clients import OVER, PATIENCE, TOKENS, Client, Place
from tests.faults.crowd import Crowd

TERMINAL = {"MessageCompleted", "MessageStopped", "MessageErrored"}

Event = dict[str, Any]


def words(attempt: int, count: int = TOKENS) -> str:
    return "".join(f"a{attempt}t{number} " for number in range(count))


@dataclass
class Tally:
    """What came of a crowd's questions.

    Attributes:
        messages: how many are on the ledger.
        received: characters of answers that were sent, those included that were replaced later.
        lost: characters of answers that a client does not show at the end.
        doubled: characters that it shows more than once.
        spliced: characters of another attempt that it shows.
        ends: how many messages have so many terminal events.
        last_end: when the last message ended, by the ledger: seconds since 1970.
        faults: what is wrong, a line each.
        ledger: the events of each message.
    """

    messages: int = 0
    received: int = 0
    lost: int = 0
    doubled: int = 0
    spliced: int = 0
    ends: Counter[int] = field(default_factory=Counter)
    last_end: float = 0.0
    faults: list[str] = field(default_factory=list)
    ledger: dict[str, Sequence[Event]] = field(default_factory=dict)

    def compare(self, client: Client, answer: str) -> None:
        """Count the characters of a client's text that are not as they should be."""
        wanted, got = Counter(answer.split()), Counter(client.text.split())
        lost, surplus = wanted - got, got - wanted
        self.lost += _characters(lost)
        self.doubled += _characters({word: count for word, count in surplus.items() if word in wanted})
        self.spliced += _characters({word: count for word, count in surplus.items() if word not in wanted})
        self.require(client.text == answer, f"{client.recording.client} does not show what is stored")

    def require(self, holds: bool, otherwise: str) -> None:
        """Note a fault unless this holds."""
        if not holds:
            self.faults.append(otherwise)


def _characters(words: dict[str, int]) -> int:
    return sum((len(word) + 1) * count for word, count in words.items())


async def tally_of(crowd: Crowd, *, ends: Sequence[str] = ("MessageCompleted",)) -> Tally:
    """Compare what each client received with the ledger's events and with the stored answer.

    Args:
        crowd: that has the answers, as far as anything was asked.
        ends: the terminal events that a message may have.
    """
    tally = Tally()
    for sender in crowd.senders:
        for message in await messages_of(crowd.place, sender.user):
            events = await events_of(crowd.place, message["id"])
            tally.ledger[message["id"]] = events
            await _check_message(crowd.place, tally, message, events, ends)
    for client in crowd.clients:
        tally.received += client.received
        if client.message_id in tally.ledger:
            _check_client(tally, client)
        else:
            tally.require(
                client.message_id is None, f"{client.recording.client} was told of a message that is not there"
            )
    tally.messages = len(tally.ledger)
    return tally


async def _check_message(
    place: Place, tally: Tally, message: Event, events: Sequence[Event], ends: Sequence[str]
) -> None:
    found = [event for event in events if event["type"] in TERMINAL]
    tally.ends[len(found)] += 1
    tally.require(
        len(found) == 1 and found[0]["type"] in ends, f"{message['id']} ended as {[end['type'] for end in found]}"
    )
    tally.last_end = max([tally.last_end, *(datetime.fromisoformat(end["at"]).timestamp() for end in found)])
    task = (await place.get(f"/v1/tasks/{events[0]['data']['task_id']}")).json()
    tally.require(task["status"] in OVER, f"the task of {message['id']} is {task['status']}")
    said = text_at(events, events[-1]["version"])
    tally.require(message["answer"] == said, f"the answer of {message['id']} is not what its events say")
    for attempt, text in texts_of(events).items():
        tally.require(words(attempt).startswith(text), f"attempt {attempt} of {message['id']} is spliced or has gaps")
    if found and found[0]["type"] == "MessageCompleted":
        tally.require(said == words(max(texts_of(events))), f"the answer of {message['id']} is not whole")


def _check_client(tally: Tally, client: Client) -> None:
    events = tally.ledger[client.message_id or ""]
    tally.require(client.is_ended, f"{client.recording.client} was not told of the end")
    tally.compare(client, text_at(events, events[-1]["version"]))
    attempts = len(texts_of(events))
    tally.require(
        client.replacements < max(attempts, 1),
        f"{client.recording.client} was told {client.replacements} times of another text by {attempts} attempts",
    )
    for version, text in client.shown:
        if text != text_at(events, version):
            tally.faults.append(f"{client.recording.client} showed at version {version} what the ledger does not say")
            break


def texts_of(events: Sequence[Event]) -> dict[int, str]:
    """What each attempt has said."""
    texts: dict[int, str] = {}
    for event in events:
        if event["type"] == "AnswerChunkAppended":
            attempt = event["data"]["attempt"]
            texts[attempt] = texts.get(attempt, "") + event["data"]["text"]
    return texts


def text_at(events: Sequence[Event], version: int) -> str:
    """What the newest attempt had said at this version that had said anything: what a client shows by then."""
    texts = texts_of([event for event in events if event["version"] <= version])
    return texts[max(texts)] if texts else ""


async def messages_of(place: Place, user: str) -> list[dict[str, Any]]:
    """All messages of a user, those included whose client was never told their id."""
    found = []
    for conversation in (await place.get("/v1/conversations", params={"user": user})).json()["data"]:
        page = await place.get("/v1/messages", params={"user": user, "conversation_id": conversation["id"]})
        found += page.json()["data"]
    return [(await place.get(f"/v1/messages/{message['id']}")).json() for message in found]


async def ended(place: Place | httpx.AsyncClient, message_id: str) -> list[str]:
    """The terminal events of a message, once there are any."""
    async with asyncio.timeout(PATIENCE):
        while True:
            types = [event["type"] for event in await events_of(place, message_id)]
            if found := [kind for kind in types if kind in TERMINAL]:
                return found
            await asyncio.sleep(0.02)


async def events_of(place: Place | httpx.AsyncClient, message_id: str) -> list[Event]:
    """All events of a message."""
    events: list[Event] = []
    cursor = ""
    while True:
        answer = await place.get(f"/v1/messages/{message_id}/events", params={"limit": 100, "cursor": cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        events += page["data"]
        if not page["has_more"]:
            return events
        cursor = page["cursor"]
