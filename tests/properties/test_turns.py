"""Concurrent senders in one conversation, on a real store with a real worker: what they leave is always a serial order.

More of them: ``./test tests/properties/test_turns.py --senders 300``.
"""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatledger.application.commands.new_message import NewMessage, Sent
from chatledger.application.errors import ConversationBusyError
from chatledger.application.ledger.envelope import Envelope
from chatledger.domain.errors import DomainError
from chatledger.domain.events import (
    TERMINAL_EVENTS,
    AnswerChunkAppended,
    GenerationStarted,
    MessageCreated,
    MessageStopped,
)
from chatledger.domain.message import Message
from chatledger.domain.values import TURN_TAKERS, OnBusy
from tests.application.chat import Chat, open_chat, until
from tests.support.recalling import RecallingGenerator


class Send(NamedTuple):
    """``pause`` and ``pace`` are milliseconds: before it is sent, and after each word of its answer."""

    pause: int
    on_busy: OnBusy
    words: int
    pace: int


class Stop(NamedTuple):
    """Somebody stops one of those that were sent by then."""

    pause: int
    which: int


class TakeOver(NamedTuple):
    """A worker that nobody knew of opens an attempt at one of them, and dies."""

    pause: int
    which: int


Step = Send | Stop | TakeOver

pauses = st.integers(0, 40)
words: st.SearchStrategy[OnBusy] = st.sampled_from(("allow", "queue", "queue", "reject", "interrupt"))
turns: st.SearchStrategy[OnBusy] = st.sampled_from(("queue", "queue", "reject", "interrupt"))
stops = st.builds(Stop, pauses, st.integers(0, 9))
take_overs = st.builds(TakeOver, pauses, st.integers(0, 9))


def sends(on_busy: st.SearchStrategy[OnBusy]) -> st.SearchStrategy[Send]:
    return st.builds(Send, pauses, on_busy, st.integers(0, 5), st.integers(0, 8))


def histories(on_busy: st.SearchStrategy[OnBusy]) -> st.SearchStrategy[list[Step]]:
    one = sends(on_busy)
    return st.lists(st.one_of(one, one, one, one, stops, take_overs), min_size=4, max_size=14)


SLOW = Send(0, "allow", 200, 20)


class Conversation:
    """A conversation under these hands, and the ledger that they leave."""

    def __init__(self, chat: Chat, generator: RecallingGenerator) -> None:
        self.chat = chat
        self.generator = generator
        self.conversation_id: UUID | None = None
        self.sent: list[Sent] = []
        self.refused = 0

    async def play(self, first: Send, steps: Sequence[Step]) -> None:
        await self.take(first)
        await asyncio.gather(*(self.take(step) for step in steps))
        for sent in self.sent:

            async def has_ended(sent: Sent = sent) -> bool:
                return (await self.chat.view(sent.message_id)).ended_at is not None

            await until(has_ended)

    async def take(self, step: Step) -> None:
        await asyncio.sleep(step.pause / 1000)
        match step:
            case Send(_, on_busy, count, pace):
                new = NewMessage(
                    query=f"word {count} {pace}", inputs={}, conversation_id=self.conversation_id, on_busy=on_busy
                )
                try:
                    sent = await self.chat.application.sending.send(self.chat.caller(), new)
                except ConversationBusyError:
                    self.refused += 1
                else:
                    sent.follower.close()
                    self.conversation_id = sent.conversation_id
                    self.sent.append(sent)
            case Stop(_, which):
                task_id = self.sent[which % len(self.sent)].task_id
                await self.chat.application.stopping.stop(self.chat.caller(), task_id)
            case TakeOver(_, which):
                await self.take_over(self.sent[which % len(self.sent)].message_id)

    async def take_over(self, message_id: UUID) -> None:
        async def has_begun() -> bool:
            view = await self.chat.view(message_id)
            return view.attempt > 0 or view.ended_at is not None

        await until(has_begun)

        def decide(staged: Any) -> None:
            with contextlib.suppress(DomainError):
                staged.aggregate.start_attempt("another")

        await self.chat.running.ledger.decide(Message, message_id, decide, self.chat.caller().context(None))

    async def log(self) -> list[Envelope]:
        """The events of its messages, in their order on the ledger."""
        assert self.conversation_id is not None
        shown = {view.message_id for view in await self.chat.history(self.conversation_id, limit=100)}
        assert shown == {sent.message_id for sent in self.sent}, "one that was refused has left something"
        events = [event for message_id in shown for event in await self.chat.events(message_id)]
        return sorted(events, key=lambda event: event.position)


class Told:
    """What the rules say of such a ledger, read from one end to the other."""

    def __init__(self) -> None:
        self.created: dict[UUID, Envelope] = {}
        self.ended: dict[UUID, int] = {}
        self.cut: dict[UUID, int] = {}
        self.began: list[UUID] = []
        self.to_end: dict[UUID, set[UUID]] = {}
        self.seen: Counter[str] = Counter()

    def position(self, message_id: UUID) -> int:
        return self.created[message_id].position

    def unfinished(self) -> set[UUID]:
        return self.created.keys() - self.ended.keys()

    def read(self, events: Sequence[Envelope]) -> None:
        for event in events:
            match event.body:
                case MessageCreated() as created:
                    self.begin(event, created)
                case GenerationStarted() as started:
                    self.start(event, started)
                case body if isinstance(body, TERMINAL_EVENTS):
                    assert event.stream_id in self.unfinished()
                    self.ended[event.stream_id] = event.position
                    self.seen["interrupted"] += isinstance(body, MessageStopped) and body.by == "interruption"
        assert not self.unfinished()

    def begin(self, event: Envelope, created: MessageCreated) -> None:
        if created.on_busy == "reject":
            assert not self.unfinished(), "it was taken in beside another"
        if created.on_busy == "interrupt":
            self.to_end[event.stream_id] = self.unfinished()
        self.seen["had to wait"] += created.on_busy in TURN_TAKERS and bool(self.unfinished())
        self.created[event.stream_id] = event

    def start(self, event: Envelope, started: GenerationStarted) -> None:
        message_id = event.stream_id
        assert message_id in self.unfinished()
        created = self.created[message_id].body
        earlier = {each for each in self.unfinished() if self.position(each) < self.position(message_id)}
        if created.on_busy != "allow" and not self.has_allowed():
            assert not earlier, "two generations of one conversation overlap"
        if started.attempt > 1:
            self.seen["taken over"] += started.worker == "another"
            assert started.context_cut is None
            return
        self.began.append(message_id)
        self.cut[message_id] = created.context_cut
        if created.on_busy in TURN_TAKERS:
            assert not earlier, "it did not wait for its turn"
            assert started.context_cut is not None
            ends = [self.ended[each] for each in self.created if self.position(each) < self.position(message_id)]
            assert max(ends, default=0) <= started.context_cut < event.position
            self.cut[message_id] = started.context_cut
        else:
            assert started.context_cut is None

    def has_allowed(self) -> bool:
        """Whether one was to be answered beside what came before it, if anything did."""
        first = min(self.created.values(), key=lambda event: event.position)
        return any(event.body.on_busy == "allow" for event in self.created.values() if event is not first)

    def said_before(self, message_id: UUID, answers: dict[UUID, str]) -> list[tuple[str, str]]:
        return [
            (event.body.query, answers[each])
            for each, event in self.created.items()
            if event.position < self.position(message_id) and self.ended[each] <= self.cut[message_id] and answers[each]
        ]


def answers_of(events: Sequence[Envelope]) -> dict[UUID, str]:
    answers: defaultdict[UUID, str] = defaultdict(str)
    attempts: dict[UUID, int] = {}
    for event in events:
        match event.body:
            case AnswerChunkAppended(attempt, text):
                kept = answers[event.stream_id] if attempts.get(event.stream_id) == attempt else ""
                answers[event.stream_id], attempts[event.stream_id] = kept + text, attempt
    return answers


@pytest.fixture
def chatting(tmp_path) -> Iterator[tuple[asyncio.Runner, Chat, RecallingGenerator]]:
    generator = RecallingGenerator()
    opened = open_chat(tmp_path, generators=[generator], lease=0.4, heartbeat=0.1)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        chat = runner.run(opened.__aenter__())
        try:
            chat.app = runner.run(chat.new_app(generator="recalling"))
            yield runner, chat, generator
        finally:
            runner.run(opened.__aexit__(None, None, None))


def test_concurrent_senders_leave_a_serial_order(chatting, pytestconfig):
    runner, chat, generator = chatting
    seen: Counter[str] = Counter()

    async def run(first: Send, steps: Sequence[Step]) -> None:
        conversation = Conversation(chat, generator)
        await conversation.play(first, steps)
        events = await conversation.log()
        told = Told()
        told.read(events)
        if not told.has_allowed():
            assert told.began == sorted(told.began, key=told.position), "answered out of turn"
        for interrupting, interrupted in told.to_end.items():
            ends = [told.ended[each] for each in interrupted]
            assert all(end < told.cut[interrupting] + 1 for end in ends if interrupting in told.cut)
        answers = answers_of(events)
        for sent in conversation.sent:
            for history in generator.heard[sent.message_id]:
                heard = [(exchange.query, exchange.answer) for exchange in history]
                assert heard == told.said_before(sent.message_id, answers)
        seen.update(told.seen)
        seen["refused"] += conversation.refused

    count = pytestconfig.getoption("--senders")

    @settings(max_examples=count, deadline=None)
    @given(sends(words), st.one_of(histories(words), histories(turns)))
    @example(SLOW, [Send(0, "queue", 3, 1), Send(0, "reject", 1, 0), TakeOver(0, 0), Send(100, "interrupt", 2, 1)])
    def play(first: Send, steps: list[Step]) -> None:
        runner.run(run(first, steps))

    play()
    assert min(seen[each] for each in ("had to wait", "interrupted", "refused", "taken over")) > 0, seen
