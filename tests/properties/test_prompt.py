"""The history that a prompt is made from: what was said up to the context cut, today as then.

Random lives of the messages of two conversations run through the writer into a real store. A plain model, which knows
nothing but the committed events, says what the earlier exchanges of each message are.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatledger.adapters.persistence.store import Reader
from chatledger.adapters.persistence.views import SqlViews
from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ledger.sealed_rows import RowSeals
from chatledger.application.ledger.writer import GroupCommitWriter
from chatledger.application.system_clock import new_id
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import DomainError
from chatledger.domain.events import (
    TERMINAL_EVENTS,
    AnswerChunkAppended,
    GenerationStarted,
    MessageCreated,
)
from chatledger.domain.message import Message
from chatledger.domain.values import Usage
from tests.persistence.stores import Store, a_question, open_store, running_writer

ALL = 1_000
LATER = datetime(2031, 5, 6, tzinfo=UTC)
CONVERSATIONS = 2

Said = list[tuple[str, str]]
Move = Callable[[Message], None]


class Place(NamedTuple):
    """A store at work."""

    runner: asyncio.Runner
    ledger: Ledger
    writer: GroupCommitWriter
    store: Store
    views: SqlViews


@pytest.fixture
def place(tmp_path: Path, database_url: str | None) -> Iterator[Place]:
    with (
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
        open_store(tmp_path, database_url) as store,
        contextlib.closing(Reader(store.database.reading(1), threads=1)) as reader,
    ):
        running = running_writer(store, runner.get_loop())
        writer = runner.run(running.__aenter__())
        try:
            ledger = Ledger(store.ledger, store.codec, store.keyring, writer, new_id)
            yield Place(runner, ledger, writer, store, SqlViews(reader, RowSeals(store.keyring)))
        finally:
            runner.run(running.__aexit__(None, None, None))


def said_by(events: Sequence[Envelope], conversation_id: UUID, cut: int) -> Said:
    """The model: question and answer of each message that had ended with an answer at the cut, as they were asked."""
    questions: dict[UUID, str] = {}
    answers: dict[UUID, str] = {}
    ended: set[UUID] = set()
    for envelope in events:
        body, message_id = envelope.body, envelope.stream_id
        if envelope.position > cut:
            break
        if isinstance(body, MessageCreated) and body.conversation_id == conversation_id:
            questions[message_id] = body.query
        elif isinstance(body, GenerationStarted):
            answers[message_id] = answers.get(message_id, "")[: body.offset] if body.base == "continue" else ""
        elif isinstance(body, AnswerChunkAppended):
            answers[message_id] += body.text
        elif isinstance(body, TERMINAL_EVENTS):
            ended.add(message_id)
    return [(question, answers[id_]) for id_, question in questions.items() if id_ in ended and answers.get(id_)]


class Life:
    """One history on its way through the writer, and every prompt that was ever read from it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.conversations: list[Staged[Conversation]] = []
        self.messages: list[Staged[Message]] = []
        self.events: list[Envelope] = []
        self.first_read: dict[UUID, Said] = {}
        self.pending: dict[UUID, asyncio.Future[list[Envelope]]] = {}

    async def begin(self) -> None:
        for _ in range(CONVERSATIONS):
            key = self.place.store.keyring.new_key(None)
            conversation = Conversation.start(
                new_id(),
                app_id=new_id(),
                end_user_id=new_id(),
                hidden=False,
                name="",
                inputs={},
                introduction="",
            )
            staged = Staged(conversation, key.key_id)
            self.conversations.append(staged)
            await self.place.ledger.hand_in(staged, context=a_context(), new_keys=[key])

    async def take(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("ask", which, query, lag):
                conversation, key_id = self.conversations[which].aggregate, self.conversations[which].key_id
                cut = max(0, self.place.ledger.head_position - lag)
                asked = a_question(query, conversation_id=conversation.id, context_cut=cut)
                staged = Staged(Message.create(new_id(), asked), key_id)
                self.messages.append(staged)
                self.hand_in(staged)
            case ("ask and answer", which, query, moves):
                await self.take(("ask", which, query, 0))
                await self.take(("go on", len(self.messages) - 1, moves))
                await self.settle()
            case ("go on", which, moves) if self.messages:
                staged = self.messages[which % len(self.messages)]
                if staged.aggregate.id in self.pending:
                    await self.settle()
                for move in moves:
                    with contextlib.suppress(DomainError):
                        move(staged.aggregate)
                self.hand_in(staged)
            case ("settle",):
                await self.settle()
                await self.check()

    def hand_in(self, staged: Staged[Message]) -> None:
        self.pending[staged.aggregate.id] = self.place.ledger.hand_in(staged, context=a_context())

    async def settle(self) -> None:
        for committed in await asyncio.gather(*self.pending.values()):
            self.events += committed
        self.events.sort(key=lambda envelope: envelope.position)
        self.pending.clear()

    async def check(self) -> None:
        for staged in self.messages:
            created = staged.aggregate.created
            expected = said_by(self.events, created.conversation_id, created.context_cut)
            read = await self.exchanges(created, ALL)
            assert read == expected
            assert read == self.first_read.setdefault(staged.aggregate.id, read)
            assert all(answer for _, answer in read)
            assert await self.exchanges(created, 2) == expected[-2:]

    async def exchanges(self, created: MessageCreated, limit: int) -> Said:
        exchanges = await self.place.views.exchanges(created.conversation_id, created.context_cut, limit)
        return [(exchange.query, exchange.answer) for exchange in exchanges]


def a_context() -> Context:
    return Context(actor=SYSTEM, correlation_id=new_id())


def start(base: Any, offset: int) -> Move:
    return lambda message: void(message.start_attempt("worker", base, offset))


def void(_: object) -> None:
    """Moves return nothing."""


def chunk(text: str) -> Move:
    return lambda message: message.append_chunk(message.attempt, text)


def end(how: str) -> Move:
    def move(message: Message) -> None:
        match how:
            case "complete":
                message.complete(message.attempt, Usage(), "stop", "f" * 64)
            case "stop":
                message.stop(message.attempt, "user", Usage(), "f" * 64)
            case "fail":
                message.fail(message.attempt, "internal_server_error", "broken")

    return move


def put_back(message: Message) -> None:
    message.requeue(message.attempt, "completion_request_error", "busy", LATER)


def want_a_stop(message: Message) -> None:
    message.request_stop("user")


def rate(message: Message) -> None:
    message.give_feedback("user", "like", "thanks")


def withdraw(message: Message) -> None:
    message.withdraw_feedback("user")


texts = st.text(st.sampled_from("ab𝄞"), max_size=3)
starts = st.builds(start, st.sampled_from(("reset", "continue")), st.integers(0, 4))
chunks = st.builds(chunk, texts)
ends = st.builds(end, st.sampled_from(("complete", "stop", "fail")))
moves = st.one_of(starts, chunks, chunks, ends, st.sampled_from((put_back, want_a_stop, rate, withdraw)))
whole_lives = st.tuples(starts, chunks, ends).map(list)
conversations = st.sampled_from((0, 0, 0, 1))
asked = st.tuples(st.just("ask"), conversations, texts, st.sampled_from((0, 0, 0, 1, 4)))
answered = st.tuples(st.just("ask and answer"), conversations, texts, whole_lives)
gone_on = st.tuples(st.just("go on"), st.integers(0, 20), whole_lives | st.lists(moves, min_size=1, max_size=5))
steps = st.one_of(asked, answered, gone_on, gone_on, st.just(("settle",)))


def test_a_prompt_is_made_of_what_was_answered_by_its_cut_and_stays_so(place: Place) -> None:
    seen: Counter[str] = Counter()

    async def run(history: list[tuple[Any, ...]]) -> None:
        life = Life(place)
        await life.begin()
        for step in [*history, ("settle",)]:
            await life.take(step)
        seen["several"] += sum(len(read) > 1 for read in life.first_read.values())
        for staged in life.messages:
            later = said_by(life.events, staged.aggregate.created.conversation_id, life.events[-1].position)
            seen["grew"] += len(later) > len(life.first_read[staged.aggregate.id])
            seen["without an answer"] += staged.aggregate.has_ended and not staged.aggregate.answer

    @settings(max_examples=60, deadline=None)
    @given(st.lists(steps, min_size=10, max_size=40))
    def histories(history: list[tuple[Any, ...]]) -> None:
        place.runner.run(run(history))

    histories()
    assert min(seen["several"], seen["grew"], seen["without an answer"]) > 20, seen
