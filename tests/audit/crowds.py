"""People who talk and read without a pause, and complain of whatever they are not shown as it was."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import httpx

from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.ledger import Staged
from chatledger.application.system_clock import new_id
from chatledger.bootstrap import Running, open_chatledger
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.conversation import Conversation
from chatledger.domain.end_user import EndUser
from chatledger.domain.message import Message
from chatledger.domain.values import Usage
from chatledger.settings import Settings
from tests.persistence.stores import a_question

PIECES = 16
"""Of each answer that was there before: with its other events a message has 19."""
EVENTS_OF_A_MESSAGE = PIECES + 3
MESSAGES = 20
"""Of a conversation."""
LANES = 50


class House:
    """What a ledger holds before anybody talks: an app, an operator's token, and what one person has said for long."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.key = ""
        self.token = ""

    async def fill(self, events: int) -> None:
        """Write so many events, roughly."""
        async with open_chatledger(self._settings, with_worker=False) as running:
            application, context = running.application, a_context()
            configuration = AppConfiguration(generator="scripted", settings={"tokens": 3})
            app = await application.apps.create("chat", "house", configuration, context)
            self.key = app.api_key
            self.token = (await application.operators.issue("someone", ["operate"], context)).token
            lookup = application.end_users.lookup(app.app_id, "service-api", "eve")
            eve = EndUser.see(new_id(), app_id=app.app_id, kind="service-api", external_id="eve", lookup=lookup)
            key = running.ledger.keyring.new_key(None)
            await running.ledger.hand_in(Staged(eve, key.key_id), context=context, new_keys=(key,))
            lanes = asyncio.Semaphore(LANES)
            conversations = max(1, events // EVENTS_OF_A_MESSAGE // MESSAGES)
            await asyncio.gather(
                *(_converse(running, app.app_id, eve.id, key.key_id, lanes) for _ in range(conversations))
            )


async def _converse(
    running: Running, app_id: UUID, person_id: UUID, person_key: UUID, lanes: asyncio.Semaphore
) -> None:
    ledger, context = running.ledger, a_context()
    async with lanes:
        key = ledger.keyring.new_key(person_key)
        conversation = Conversation.start(
            new_id(), app_id=app_id, end_user_id=person_id, hidden=False, name="of old", inputs={}, introduction=""
        )
        await ledger.hand_in(Staged(conversation, key.key_id), context=context, new_keys=(key,))
        for number in range(MESSAGES):
            place = {"app_id": app_id, "end_user_id": person_id, "conversation_id": conversation.id}
            message = Message.create(new_id(), a_question(f"question {number}", **place))
            message.start_attempt("house")
            for piece in range(PIECES):
                message.append_chunk(1, f"piece {piece} of an answer of many words ")
            message.complete(1, Usage(total_tokens=PIECES), "stop", "")
            await ledger.hand_in(Staged(message, key.key_id), context=context)


def a_context() -> Context:
    return Context(actor=SYSTEM, correlation_id=new_id())


class Talker:
    """One person, who remembers everything that was said."""

    def __init__(self, client: httpx.AsyncClient, name: str) -> None:
        self._client = client
        self._name = name
        self._conversations: list[str] = []
        self._said: list[tuple[str, str]] = []
        self.requests = 0

    async def talk(self, is_over: asyncio.Event) -> None:
        """Ask something and read everything, again and again."""
        while not is_over.is_set():
            if len(self._said) % MESSAGES == 0:
                self._said.clear()
            await self._ask()
            await self._read()

    async def _ask(self) -> None:
        known = self._conversations[-1] if self._said else ""
        body = {"inputs": {}, "query": "and?", "user": self._name, "conversation_id": known}
        answer = await self._request("POST", "/v1/chat-messages", json=body | {"response_mode": "blocking"})
        if not known:
            self._conversations.append(answer["conversation_id"])
        self._said.append((answer["message_id"], answer["answer"]))

    async def _read(self) -> None:
        shown = await self._shown("/v1/messages", conversation_id=self._conversations[-1])
        assert [(message["id"], message["answer"]) for message in shown] == self._said
        listed = await self._shown("/v1/conversations", sort_by="-created_at")
        newest = self._conversations[: -len(listed) - 1 : -1]
        assert [conversation["id"] for conversation in listed] == newest
        assert len(newest) == min(100, len(self._conversations))

    async def _shown(self, path: str, **query: str) -> Sequence[dict]:
        return (await self._request("GET", path, params={"user": self._name, "limit": "100"} | query))["data"]

    async def _request(self, method: str, path: str, **more: object) -> dict:
        response = await self._client.request(method, path, **more)
        self.requests += 1
        assert response.status_code == 200, response.text
        return response.json()


@asynccontextmanager
async def talking(url: str, key: str, people: int) -> AsyncIterator[Sequence[Talker]]:
    """So many people talk while inside. At the end none may have met with anything wrong."""
    is_over = asyncio.Event()
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        talkers = [Talker(client, f"person-{number}") for number in range(people)]
        tasks = [asyncio.create_task(talker.talk(is_over)) for talker in talkers]
        try:
            yield talkers
        finally:
            is_over.set()
            await asyncio.gather(*tasks)
