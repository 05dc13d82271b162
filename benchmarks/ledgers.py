"""An open chatledger without a server, and messages to append to."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvloop

from chatledger.application.context import Actor, Context
from chatledger.application.ledger.ledger import Staged
from chatledger.application.system_clock import new_id
from chatledger.bootstrap import Running, open_chatledger
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
async def opened(folder: Path) -> AsyncIterator[Running]:
    """The store that a server would have in this folder; no worker beside it."""
    async with open_chatledger(Settings(data_dir=folder / "data"), with_worker=False) as running:
        yield running


async def begin(running: Running) -> Open:
    """Ask something in a conversation with a key of its own, and open an attempt."""
    ledger = running.ledger
    key = ledger.keyring.new_key(None)
    created = MessageCreated(
        conversation_id=new_id(),
        parent_id=NIL_UUID,
        app_id=new_id(),
        end_user_id=new_id(),
        task_id=new_id(),
        mode="chat",
        generator="scripted",
        prompt_version=1,
        context_cut=0,
        parameters={},
        inputs={},
        query="What is a ledger?",
    )
    staged = Staged(Message.create(new_id(), created), key.key_id)
    await ledger.hand_in(staged, context=WORKER, new_keys=(key,))
    staged.aggregate.start_attempt("bench")
    started = await ledger.hand_in(staged, context=WORKER)
    return Open(staged, started[0].context_position)


async def complete(running: Running, answering: Open) -> None:
    """End it."""
    message, key_id = answering.message, answering.staged.key_id
    if key_id is None:
        raise ValueError("a message without a key")
    fingerprint = running.ledger.keyring.key(key_id).fingerprint(message.answer.encode())
    message.complete(1, Usage(), "stop", fingerprint)
    await running.ledger.hand_in(answering.staged, context=answering.context_position)


def raw(path: Path) -> sqlite3.Connection:
    """A bare connection with the settings of the writing one."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-16000")
    connection.execute("PRAGMA wal_autocheckpoint=4000")
    return connection
