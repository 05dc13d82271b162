"""An open chatledger without a server, and messages to append to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import uvloop

from benchmarks.stores import Store
from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.application.context import Actor, Context
from chatledger.application.ledger.ledger import Staged
from chatledger.application.system_clock import new_id
from chatledger.bootstrap import Running, open_chatledger
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.conversation import Conversation
from chatledger.domain.events import MessageCreated
from chatledger.domain.message import Message
from chatledger.domain.values import NIL_UUID, Usage
from chatledger.settings import Settings

T = TypeVar("T")

WORKER = Context(actor=Actor("worker", "bench"), correlation_id=new_id())


class Open(msgspec.Struct, frozen=True):
    """A message that is being answered."""

    staged: Staged[Message]
    context_position: int

    @property
    def message(self) -> Message:
        """It."""
        return self.staged.aggregate


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``work`` in an event loop like the server's."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Running]:
    """The store that a server would have here; no worker beside it."""
    async with open_chatledger(Settings(**store.settings), with_worker=False) as running:
        yield running


async def create_app(store: Store, script: dict[str, Any]) -> str:
    """The key of a new chat app whose scripted generator is set so; made while no server runs."""
    async with opened(store) as running:
        configuration = AppConfiguration(generator="scripted", settings=script)
        return (await running.application.apps.create("chat", "bench", configuration, WORKER)).api_key


async def begin(running: Running) -> Open:
    """Ask something in a conversation with a key of its own, and open an attempt."""
    key = running.ledger.keyring.new_key(None)
    staged = Staged(Message.create(new_id(), question(new_id(), new_id(), new_id())), key.key_id)
    await running.ledger.hand_in(staged, context=WORKER, new_keys=(key,))
    staged.aggregate.start_attempt("bench")
    started = await running.ledger.hand_in(staged, context=WORKER)
    return Open(staged, started[0].context_position)


def question(app_id: UUID, end_user_id: UUID, conversation_id: UUID) -> MessageCreated:
    """What begins a message."""
    return MessageCreated(
        conversation_id=conversation_id,
        parent_id=NIL_UUID,
        app_id=app_id,
        end_user_id=end_user_id,
        task_id=new_id(),
        mode="chat",
        generator="scripted",
        prompt_version=1,
        context_cut=0,
        parameters={},
        inputs={},
        query="What is a ledger?",
    )


async def converse(running: Running, conversations: int, messages: int, pieces: int) -> list[UUID]:
    """Hold conversations, many at a time, in which each message is answered in so many pieces; their keys."""
    app_id, end_user_id, lanes = new_id(), new_id(), asyncio.Semaphore(50)

    async def answer(answering: Open) -> None:
        for number in range(pieces):
            answering.message.append_chunk(1, f"some ten words of an answer, number {number}, and more of it ")

    async def one() -> UUID:
        async with lanes:
            return await hold(running, app_id, end_user_id, messages, answer)

    return await asyncio.gather(*(one() for _ in range(conversations)))


async def hold(
    running: Running, app_id: UUID, end_user_id: UUID, messages: int, answer: Callable[[Open], Awaitable[None]]
) -> UUID:
    """Hold one conversation, in which each message is answered so, and completed; its key."""
    key = running.ledger.keyring.new_key(None)
    conversation = start_conversation(app_id, end_user_id)
    await running.ledger.hand_in(Staged(conversation, key.key_id), context=WORKER, new_keys=(key,))
    for _ in range(messages):
        message = Message.create(new_id(), question(app_id, end_user_id, conversation.id))
        staged = Staged(message, key.key_id)
        await running.ledger.hand_in(staged, context=WORKER)
        message.start_attempt("bench")
        started = await running.ledger.hand_in(staged, context=WORKER)
        answering = Open(staged, started[0].context_position)
        await answer(answering)
        await complete(running, answering)
    return key.key_id


def start_conversation(app_id: UUID, end_user_id: UUID) -> Conversation:
    """A new one."""
    return Conversation.start(
        new_id(),
        app_id=app_id,
        end_user_id=end_user_id,
        hidden=False,
        name="What is a ledger?",
        inputs={},
        introduction="",
    )


async def complete(running: Running, answering: Open) -> None:
    """End it."""
    message, key_id = answering.message, answering.staged.key_id
    if key_id is None:
        raise ValueError("a message without a key")
    fingerprint = running.ledger.keyring.key(key_id).fingerprint(message.answer.encode())
    message.complete(1, Usage(), "stop", fingerprint)
    await running.ledger.hand_in(answering.staged, context=answering.context_position)


def secret_of(running: Running, key_id: UUID) -> bytes:
    """A data key, for the floors that open with the bare cipher."""
    keyring = running.ledger.keyring
    assert isinstance(keyring, StoredKeyring)
    return keyring.secret(key_id)
