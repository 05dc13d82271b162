"""The history that a prompt is made from: what was said up to the context cut, today as then.

Random lives of the messages of two conversations run through the writer into a real store. A plain model, which knows
nothing but the committed events, says what the earlier exchanges of each message are.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from chatledger.application.context import SYSTEM, Context
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Staged
from chatledger.application.system_clock import new_id
from chatledger.domain.context_window import estimated_tokens
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import DomainError
from chatledger.domain.events import (
    TERMINAL_EVENTS,
    AnswerChunkAppended,
    GenerationStarted,
    MessageCreated,
)
from chatledger.domain.message import Message
from chatledger.domain.values import NIL_UUID, Usage
from tests.persistence.stores import a_question
from tests.properties.conftest import Place

ALL = 1_000
LATER = datetime(2031, 5, 6, tzinfo=UTC)
CONVERSATIONS = 2

Said = list[tuple[str, str]]
Move = Callable[[Message], None]


class Known(NamedTuple):
    """What the events up to a cut tell of a message."""

    asked: MessageCreated
    position: int
    answer: str
    has_ended: bool


def known_by(events: Sequence[Envelope], cut: int) -> dict[UUID, Known]:
    """All messages as they stood at the cut, as they were asked."""
    known: dict[UUID, Known] = {}
    for envelope in events:
        body, message_id = envelope.body, envelope.stream_id
        if envelope.position > cut:
            break
        if isinstance(body, MessageCreated):
            known[message_id] = Known(body, envelope.position, "", has_ended=False)
            continue
        message = known[message_id]
        if isinstance(body, GenerationStarted):
            kept = message.answer[: body.offset] if body.base == "continue" else ""
            known[message_id] = message._replace(answer=kept)
        elif isinstance(body, AnswerChunkAppended):
            known[message_id] = message._replace(answer=message.answer + body.text)
        elif isinstance(body, TERMINAL_EVENTS):
            known[message_id] = message._replace(has_ended=True)
    return known


def said_to(events: Sequence[Envelope], leaf: MessageCreated) -> tuple[Said, bool]:
    """The model: question and answer of each ancestor that had ended with an answer at the cut, as they were asked.

    An ancestor that a message names is one even where the message was cut off before it was asked: what it was itself
    asked after still counts. Also whether the way leads anywhere else than straight back in time.
    """
    asked = known_by(events, events[-1].position)
    known = known_by(events, leaf.context_cut)
    own = {id_: message for id_, message in asked.items() if message.asked.conversation_id == leaf.conversation_id}
    said: Said = []
    parent_id, before, bends = leaf.parent_id, leaf.context_cut + 1, False
    while parent_id is not None:
        earlier = {id_: message.asked for id_, message in own.items() if message.position < before}
        if parent_id == NIL_UUID:
            parent_id = said_last(earlier)
            if parent_id is None:
                break
        bends = bends or [*earlier][-1:] != [parent_id]
        ancestor = known.get(parent_id)
        if ancestor is not None and ancestor.has_ended and ancestor.answer:
            said.insert(0, (ancestor.asked.query, ancestor.answer))
        before, parent_id = own[parent_id].position, own[parent_id].asked.parent_id
    return said, bends or parent_id is None


def said_last(earlier: Mapping[UUID, MessageCreated]) -> UUID | None:
    """The model: what is asked again in place of the last in the line becomes the last itself; other replays do not."""
    last, replayed = None, set[UUID | None]()
    for message_id, asked in earlier.items():
        if asked.replayed_from is None:
            replayed = {message_id}
        elif asked.replayed_from in replayed:
            replayed.add(message_id)
        else:
            continue
        last = message_id
    return last


def fitting(said: Said, tokens: int) -> Said:
    """The model: the longest end of what was said that has no more tokens than that."""
    costs = [estimated_tokens(question) + estimated_tokens(answer) for question, answer in said]
    fit = [start for start in range(len(said) + 1) if sum(costs[start:]) <= tokens]
    return said[min(fit) :] if tokens else said


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
            case ("ask", which, query, lag, hook):
                conversation, key_id = self.conversations[which].aggregate, self.conversations[which].key_id
                cut = max(0, self.place.ledger.head_position - lag)
                place = self.hung(conversation.id, hook)
                asked = a_question(query, conversation_id=conversation.id, context_cut=cut, **place)
                staged = Staged(Message.create(new_id(), asked), key_id)
                self.messages.append(staged)
                self.hand_in(staged)
            case ("ask and answer", which, query, moves, hook):
                await self.take(("ask", which, query, 0, hook))
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

    def hung(self, conversation_id: UUID, hook: str | int | tuple[str, int]) -> dict[str, UUID | None]:
        """On what comes before in time, on nothing, on one of the messages that were committed, or in place of one."""
        own = [
            envelope.stream_id
            for envelope in self.events
            if isinstance(envelope.body, MessageCreated) and envelope.body.conversation_id == conversation_id
        ]
        match hook:
            case int() if own:
                return {"parent_id": own[hook % len(own)]}
            case ("again", back) if own:
                original = own[-min(back, len(own))]
                return {"parent_id": self.parent_of(original), "replayed_from": original}
            case _:
                return {"parent_id": None if hook == "root" else NIL_UUID}

    def parent_of(self, message_id: UUID) -> UUID | None:
        """What it goes on from: by its own word, or in time."""
        earlier: dict[UUID, MessageCreated] = {}
        for envelope in self.events:
            if isinstance(envelope.body, MessageCreated):
                if envelope.stream_id == message_id:
                    break
                earlier[envelope.stream_id] = envelope.body
        asked = envelope.body
        if asked.parent_id != NIL_UUID:
            return asked.parent_id
        return said_last({id_: one for id_, one in earlier.items() if one.conversation_id == asked.conversation_id})

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
            expected, _ = said_to(self.events, created)
            read = await self.exchanges(staged)
            assert read == expected
            assert read == self.first_read.setdefault(staged.aggregate.id, read)
            assert all(answer for _, answer in read)

    async def check_bounds(self, tokens: int) -> None:
        for staged in self.messages:
            whole = self.first_read[staged.aggregate.id]
            assert await self.exchanges(staged, tokens=tokens) == fitting(whole, tokens)
            for most in range(1, 3):
                assert await self.exchanges(staged, tokens=tokens, most=most) == fitting(whole[-most:], tokens)

    async def exchanges(
        self, staged: Staged[Message], *, longest: int = ALL, tokens: int = 0, most: int | None = None
    ) -> Said:
        exchanges = await self.place.views.exchanges(
            staged.aggregate.id,
            staged.aggregate.context_cut,
            longest=longest,
            tokens=tokens,
            most=most,
        )
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
agains = st.tuples(st.just("again"), st.sampled_from((1, 1, 2, 3)))
hooks = st.sampled_from(("line",) * 6 + ("root",)) | st.integers(0, 20) | agains
asked = st.tuples(st.just("ask"), conversations, texts, st.sampled_from((0, 0, 0, 1, 4)), hooks)
answered = st.tuples(st.just("ask and answer"), conversations, texts, whole_lives, hooks)
gone_on = st.tuples(st.just("go on"), st.integers(0, 20), whole_lives | st.lists(moves, min_size=1, max_size=5))
steps = st.one_of(asked, answered, answered, answered, gone_on, gone_on, st.just(("settle",)))


def test_a_prompt_is_made_of_what_was_answered_by_its_cut_and_stays_so(place: Place) -> None:
    seen: Counter[str] = Counter()

    async def run(history: list[tuple[Any, ...]], tokens: int) -> None:
        life = Life(place)
        await life.begin()
        for step in [*history, ("settle",)]:
            await life.take(step)
        await life.check_bounds(tokens)
        seen["several"] += sum(len(read) > 1 for read in life.first_read.values())
        for staged in life.messages:
            created = staged.aggregate.created
            later, _ = said_to(life.events, msgspec.structs.replace(created, context_cut=life.events[-1].position))
            said, bends = said_to(life.events, created)
            seen["grew"] += len(later) > len(said)
            seen["in a tree"] += bends and len(said) > 1
            seen["with replays"] += any(one.aggregate.created.replayed_from for one in life.messages) and len(said) > 1
            seen["without an answer"] += staged.aggregate.has_ended and not staged.aggregate.answer

    @settings(max_examples=60, deadline=None)
    @given(st.lists(steps, min_size=10, max_size=40), st.sampled_from((1, 11, 25)))
    def histories(history: list[tuple[Any, ...]], tokens: int) -> None:
        place.runner.run(run(history, tokens))

    histories()
    assert min(seen["several"], seen["grew"], seen["without an answer"]) > 5, seen
    assert min(seen["in a tree"], seen["with replays"]) > 0, seen
