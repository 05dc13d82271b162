"""Read models of very many messages, written without their events: only what the queries on them ever see.

Each row is like one that the projections have made of the events of such a message, sealed under the key of its
conversation.
"""

import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, cast
from uuid import UUID

import msgspec

from benchmarks.bare import bare
from benchmarks.ledgers import WORKER, opened, question, start_conversation
from benchmarks.stores import Store
from chatledger.application.caller import Caller
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Staged
from chatledger.application.ledger.sealed_rows import Answer, ConversationContent, ConversationName, Question, RowSeals
from chatledger.application.ports.storage import Insert, Update
from chatledger.application.system_clock import new_id
from chatledger.bootstrap import Running
from chatledger.domain.aggregate import Aggregate
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.end_user import EndUser
from chatledger.domain.message import Message
from chatledger.domain.values import Usage

USER = "ada"
QUESTION = Question("What is a ledger?", {})
ANSWER = Answer("An answer of some forty words, which is what people get to read most of the time. " * 3, None, ())
NAME = ConversationName("What is a ledger?")
CONTENT = ConversationContent({}, "")

EVENTS_OF_A_MESSAGE = 4

FIRST_POSITION = 1_000
ROWS_IN_A_COMMIT = 10_000


class Written(msgspec.Struct, frozen=True):
    """A conversation: its id, its key and the ids of its messages, oldest first."""

    conversation_id: UUID
    key_id: UUID
    message_ids: list[UUID]


class Filled(msgspec.Struct, frozen=True):
    """What is in a store now, and who may read it."""

    reader: Caller
    conversations: list[Written]


async def fill(store: Store, sizes: Sequence[int]) -> Filled:
    """A conversation for each of these numbers of messages; their messages lie among each other as in a busy store."""
    async with opened(store) as running:
        application, keyring = running.application, running.ledger.keyring
        app_id = (await application.apps.create("chat", "bench", AppConfiguration(generator="scripted"), WORKER)).app_id
        app = await application.views.app(app_id)
        if app is None:
            raise LookupError("the app")
        lookup = application.end_users.lookup(app_id, "service-api", USER)
        person = EndUser.see(new_id(), app_id=app_id, kind="service-api", external_id=USER, lookup=lookup)
        key = keyring.new_key(None)
        await running.ledger.hand_in(Staged(person, key.key_id), context=WORKER, new_keys=(key,))
        keys = [keyring.new_key(key.key_id) for _ in sizes]
        keyring.make_durable(keys)
        rows = _Rows(running, app_id, person.id, [key.key_id for key in keys])
        with bare(store) as connection:
            for table, made in (("messages", rows.messages(sizes)), ("conversations", rows.conversations())):
                while page := list(islice(made, ROWS_IN_A_COMMIT)):
                    connection.insert(table, page)
        return Filled(Caller(app=app, user=USER, correlation_id=new_id()), rows.written)


class _Rows:
    """All rows of a table are like the first one, but for what has to be each row's own."""

    def __init__(self, running: Running, app_id: UUID, end_user_id: UUID, keys: Sequence[UUID]) -> None:
        self._running = running
        self._app_id = app_id
        self._end_user_id = end_user_id
        self._seals = RowSeals(running.ledger.keyring)
        self._position = FIRST_POSITION
        self.written = [Written(new_id(), key_id, []) for key_id in keys]

    def messages(self, sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Those of all conversations, in a random order."""
        turns = [conversation for conversation, size in zip(self.written, sizes, strict=True) for _ in range(size)]
        random.Random(1).shuffle(turns)
        like = self._first_message(turns[0])
        for conversation in turns:
            message_id, key_id = new_id(), conversation.key_id
            conversation.message_ids.append(message_id)
            self._position += EVENTS_OF_A_MESSAGE
            own = {
                "message_id": message_id,
                "conversation_id": conversation.conversation_id,
                "task_id": new_id(),
                "key_id": key_id,
                "position": self._position,
                "ended_position": self._position + EVENTS_OF_A_MESSAGE - 1,
                "question": self._seals.seal(key_id, QUESTION, message_id),
                "answer": self._seals.seal(key_id, ANSWER, message_id),
            }
            yield like | own

    def conversations(self) -> Iterator[dict[str, Any]]:
        """One for each key."""
        like = self._first_conversation(self.written[0])
        for conversation in self.written:
            self._position += 1
            own = {
                "conversation_id": conversation.conversation_id,
                "key_id": conversation.key_id,
                "created_position": self._position,
                "updated_position": self._position,
                "name": self._seals.seal(conversation.key_id, NAME, conversation.conversation_id),
                "content": self._seals.seal(conversation.key_id, CONTENT, conversation.conversation_id),
            }
            yield like | own

    def _first_message(self, conversation: Written) -> dict[str, Any]:
        message = Message.create(new_id(), question(self._app_id, self._end_user_id, conversation.conversation_id))
        message.start_attempt("bench")
        message.append_chunk(1, ANSWER.text)
        message.complete(1, Usage(), "stop", "")
        return self._row("messages", message, conversation.key_id)

    def _first_conversation(self, conversation: Written) -> dict[str, Any]:
        return self._row("conversations", start_conversation(self._app_id, self._end_user_id), conversation.key_id)

    def _row(self, table: str, aggregate: Aggregate[Any], key_id: UUID) -> dict[str, Any]:
        """What the projections make of an aggregate."""
        row: dict[str, Any] = {}
        for recorded in aggregate.collect_events():
            now = time.time_ns() // 1000
            envelope = Envelope(
                1, aggregate.id, "message", recorded.originator_version, new_id(), now, 1, key_id, recorded.body
            )
            for change in self._running.projections.changes(envelope, lambda: cast("Message", aggregate)):
                if change.table == table:
                    row |= cast("Insert", change).row if isinstance(change, Insert) else cast("Update", change).values
        return row
