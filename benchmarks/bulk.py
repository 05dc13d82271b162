"""Read models of very many messages, written without their events: only what the queries on them ever see.

Each row is what the projections make of the events that such a message has, sealed under the key of its conversation.
"""

import random
import time
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, cast
from uuid import UUID

import msgspec

from benchmarks.ledgers import WORKER, question, start_conversation
from chatledger.adapters.clock import new_id
from chatledger.application.caller import Caller
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Staged
from chatledger.application.ports.storage import Category, Change
from chatledger.bootstrap import Running
from chatledger.domain.aggregate import Recorded
from chatledger.domain.app import AppConfiguration
from chatledger.domain.end_user import EndUser
from chatledger.domain.message import Message
from chatledger.domain.values import Usage

USER = "ada"
ANSWER = "An answer of some forty words, which is what people get to read most of the time. " * 3

ROWS_IN_A_COMMIT = 1_000


class Written(msgspec.Struct, frozen=True):
    """A conversation: its id, its key and the ids of its messages, oldest first."""

    conversation_id: UUID
    key_id: UUID
    message_ids: list[UUID]


class Filled(msgspec.Struct, frozen=True):
    """What is in a store now, and who may read it."""

    reader: Caller
    conversations: list[Written]


async def fill(running: Running, sizes: Sequence[int]) -> Filled:
    """A conversation for each of these numbers of messages; their messages lie among each other as in a busy store."""
    app = running.application
    created = await app.apps.create("chat", "bench", AppConfiguration(generator="scripted"), WORKER)
    app_view = await app.views.app(created.app_id)
    if app_view is None:
        raise LookupError("the app")
    keyring = running.ledger.keyring
    person_key = keyring.new_key(None)
    lookup = app.end_users.lookup(created.app_id, "service-api", USER)
    person = EndUser.see(new_id(), app_id=created.app_id, kind="service-api", external_id=USER, lookup=lookup)
    await running.ledger.hand_in(Staged(person, person_key.key_id), context=WORKER, new_keys=(person_key,))
    filling = _Filling(running, created.app_id, person.id, person_key.key_id)
    await running.writer.run_alone(lambda: filling.run(sizes))
    return Filled(Caller(app=app_view, user=USER, correlation_id=new_id()), filling.conversations)


class _Filling:
    """Runs on the writer's thread."""

    def __init__(self, running: Running, app_id: UUID, end_user_id: UUID, person_key: UUID) -> None:
        self._running = running
        self._app_id = app_id
        self._end_user_id = end_user_id
        self._person_key = person_key
        self._position = 1_000
        self._rows: list[list[Change]] = []
        self.conversations: list[Written] = []

    def run(self, sizes: Sequence[int]) -> None:
        keys = [self._running.ledger.keyring.new_key(self._person_key) for _ in sizes]
        self._running.ledger.keyring.make_durable(keys)
        for key in keys:
            self._start(key.key_id)
        turns = [place for place, size in enumerate(sizes) for _ in range(size)]
        random.Random(1).shuffle(turns)
        self._write(self._answer(place) for place in turns)
        self._write(iter(self._rows))

    def _write(self, changes: Iterator[Sequence[Change]]) -> None:
        while page := list(islice(changes, ROWS_IN_A_COMMIT)):
            with self._running.store.write() as transaction:
                transaction.apply(list(chain.from_iterable(page)))

    def _start(self, key_id: UUID) -> None:
        conversation = start_conversation(self._app_id, self._end_user_id)
        self.conversations.append(Written(conversation.id, key_id, []))
        (started,) = conversation.collect_events()
        self._rows.append([*self._changes(started, "conversation", key_id)])

    def _answer(self, place: int) -> Sequence[Change]:
        """The changes to the messages. Of those to the conversation only the last one is kept, for the end."""
        conversation = self.conversations[place]
        message = Message.create(new_id(), question(self._app_id, self._end_user_id, conversation.conversation_id))
        message.start_attempt("bench")
        message.append_chunk(1, ANSWER)
        message.complete(1, Usage(), "stop", "")
        conversation.message_ids.append(message.id)
        changes: list[Change] = []
        for recorded in message.collect_events():
            changes += self._changes(recorded, "message", conversation.key_id, message)
        self._rows[place][1:] = [change for change in changes if change.table == "conversations"]
        return [change for change in changes if change.table == "messages"]

    def _changes(
        self, recorded: Recorded[Any], category: Category, key_id: UUID, message: Message | None = None
    ) -> Sequence[Change]:
        self._position += 1
        envelope = Envelope(
            self._position,
            recorded.originator_id,
            category,
            recorded.originator_version,
            new_id(),
            time.time_ns() // 1000,
            self._position,
            key_id,
            recorded.body,
        )
        return self._running.projections.changes(envelope, lambda: cast("Message", message))
