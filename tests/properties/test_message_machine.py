"""A message in the hands of callers who keep to no order, beside a plain model of what the rules say.

The model shares no code with the aggregate: it keeps the history as plain values and works everything out anew from
them. Offsets are code points, which the texts here make felt: half of their characters lie outside the basic plane.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chatledger.domain.errors import (
    DomainError,
    FencedOutError,
    MessageEndedError,
    NothingToWithdrawError,
    StopPendingError,
)
from chatledger.domain.events import (
    AgentThoughtRecorded,
    AnswerChunkAppended,
    AnswerReplaced,
    FeedbackGiven,
    FeedbackWithdrawn,
    FileAttached,
    GenerationRequeued,
    GenerationStarted,
    MessageCompleted,
    MessageCreated,
    MessageErrored,
    MessageStopped,
    ResourcesRetrieved,
    StopRequested,
)
from chatledger.domain.message import Message
from chatledger.domain.values import NIL_UUID, AttachedFile, Feedback, Resource, Thought, Usage

MESSAGE = UUID("0198a000-0000-7000-8000-000000000001")
LATER = datetime(2031, 5, 6, tzinfo=UTC)
TERMINAL = (MessageStopped, MessageErrored, MessageCompleted)
OF_AN_ATTEMPT = (
    AnswerChunkAppended,
    AnswerReplaced,
    AgentThoughtRecorded,
    FileAttached,
    ResourcesRetrieved,
    GenerationRequeued,
)
GENERATION = (GenerationStarted, *OF_AN_ATTEMPT, StopRequested, *TERMINAL)

callers = st.sampled_from(("the newest", "the newest", "the newest", "the one before", "the next", "none"))
texts = st.text(st.sampled_from("ab𝄞👩"), max_size=4)
sources = st.sampled_from(("user", "admin"))


class Plain:
    """The rules of a message, said again."""

    def __init__(self) -> None:
        self.attempts: list[tuple[str, int, list[str]]] = []  # base, offset, characters
        self.open = False
        self.stop_requested = False
        self.terminal = 0
        self.is_completed = False
        self.resources: tuple[Resource, ...] = ()
        self.steps: dict[int, tuple[str, str]] = {}  # by position: the words, the tool
        self.made: list[int] = []
        self.feedback: dict[str, tuple[str, str | None]] = {}
        self.given_up: list[str] = []  # why each attempt gave way to a later one

    @property
    def newest(self) -> int:
        return len(self.attempts)

    def answer(self) -> list[str]:
        characters: list[str] = []
        for base, offset, added in self.attempts:
            if offset:
                characters = characters[:offset] + added
            elif added or base == "replaced":
                characters = list(added)
        nothing_came = bool(self.attempts) and not any(self.attempts[-1][1:]) and self.attempts[-1][0] != "replaced"
        return [] if self.is_completed and nothing_came else characters

    def bar(self, attempt: int, *, may_be_closed: bool = False) -> type[DomainError] | None:
        """Why this attempt may not go on, if it may not."""
        if self.terminal:
            return MessageEndedError
        if attempt != self.newest or not (self.open or may_be_closed):
            return FencedOutError
        return None

    def bar_to_a_new_attempt(self) -> type[DomainError] | None:
        if self.terminal:
            return MessageEndedError
        return StopPendingError if self.stop_requested else None


class MessageMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.plain = Plain()
        self.log: list[Any] = []
        self.versions: list[int] = []

    @initialize(query=texts, patience=st.sampled_from((0, 4, 12, 20)))
    def ask(self, query: str, patience: int) -> None:
        self.patience = patience  # how many events before anybody wants an end, so that long stories come up too
        self.message = Message.create(
            MESSAGE,
            MessageCreated(
                conversation_id=UUID(int=1),
                parent_id=NIL_UUID,
                app_id=UUID(int=2),
                end_user_id=UUID(int=3),
                task_id=UUID(int=4),
                mode="chat",
                generator="scripted",
                prompt_version=1,
                context_cut=0,
                parameters={},
                inputs={},
                query=query,
            ),
        )
        assert [type(body) for body in self.collect()] == [MessageCreated]

    def collect(self) -> list[msgspec.Struct]:
        recorded = self.message.collect_events()
        self.log += [event.body for event in recorded]
        self.versions += [event.originator_version for event in recorded]
        return [event.body for event in recorded]

    def attempt_of(self, caller: str) -> int:
        newest = self.plain.newest
        return {"the newest": newest, "the one before": max(0, newest - 1), "the next": newest + 1, "none": 0}[caller]

    def call(self, bar: type[DomainError] | None, command: Callable[[], Any], *expected: msgspec.Struct) -> bool:
        """Whether the command went through, as the model foretold."""
        if bar is None:
            command()
            assert self.collect() == list(expected)
            return True
        with pytest.raises(DomainError) as raised:
            command()
        assert raised.type is bar
        assert self.collect() == []
        return False

    # What callers do

    @rule(base=st.sampled_from(("reset", "continue")), offset=st.integers(-2, 12))
    def start_attempt(self, base: str, offset: int) -> None:
        number = self.plain.newest + 1
        kept = min(max(offset, 0), len(self.plain.answer())) if base == "continue" else 0
        started = GenerationStarted(attempt=number, worker="w", base=base, offset=kept)
        if self.call(self.plain.bar_to_a_new_attempt(), lambda: self.message.start_attempt("w", base, offset), started):
            self.plain.given_up += ["taken over"] if self.plain.open else []
            self.plain.attempts.append((base, kept, []))
            self.plain.resources = ()
            self.plain.steps, self.plain.made = {}, []
            self.plain.open = True

    @rule(caller=callers, pieces=st.lists(texts, min_size=1, max_size=3))
    def append_chunks(self, caller: str, pieces: list[str]) -> None:
        attempt = self.attempt_of(caller)
        for text in pieces:
            expected = [AnswerChunkAppended(attempt, text)] if text else []
            if self.call(
                self.plain.bar(attempt), lambda text=text: self.message.append_chunk(attempt, text), *expected
            ):
                self.plain.attempts[-1][2].extend(text)

    @rule(caller=callers, count=st.integers(0, 2))
    def record_resources(self, caller: str, count: int) -> None:
        attempt = self.attempt_of(caller)
        found = tuple(Resource(position=number) for number in range(count))
        if self.call(
            self.plain.bar(attempt),
            lambda: self.message.record_resources(attempt, found),
            ResourcesRetrieved(attempt=attempt, resources=found),
        ):
            self.plain.resources = tuple(
                Resource(position=place) for place in range(1, len(self.plain.resources) + count + 1)
            )

    @rule(caller=callers, position=st.integers(1, 3), words=texts, tool=texts)
    def record_thought(self, caller: str, position: int, words: str, tool: str) -> None:
        attempt = self.attempt_of(caller)
        thought = step(position, words, tool)
        recorded = AgentThoughtRecorded(attempt=attempt, **msgspec.structs.asdict(thought))
        if self.call(self.plain.bar(attempt), lambda: self.message.record_thought(attempt, thought), recorded):
            self.plain.steps[position] = (words, tool)

    @rule(caller=callers, number=st.integers(1, 9))
    def attach_file(self, caller: str, number: int) -> None:
        attempt = self.attempt_of(caller)
        attached = FileAttached(attempt=attempt, file=made(number))
        if self.call(self.plain.bar(attempt), lambda: self.message.attach_file(attempt, made(number)), attached):
            self.plain.made.append(number)

    @rule(caller=callers, text=texts)
    def replace_answer(self, caller: str, text: str) -> None:
        attempt = self.attempt_of(caller)
        silenced = [step(position, "", tool) for position, (words, tool) in self.plain.steps.items() if words]
        expected = [
            *(AgentThoughtRecorded(attempt=attempt, **msgspec.structs.asdict(thought)) for thought in silenced),
            AnswerReplaced(attempt=attempt, reason="r", text=text),
        ]
        if self.call(self.plain.bar(attempt), lambda: self.message.replace_answer(attempt, text, "r"), *expected):
            self.plain.attempts[-1] = ("replaced", 0, list(text))
            self.plain.steps = {position: ("", tool) for position, (_, tool) in self.plain.steps.items()}

    @rule(caller=callers, cause=st.sampled_from(("internal_server_error", "handed_over")))
    def requeue(self, caller: str, cause: str) -> None:
        attempt = self.attempt_of(caller)
        requeued = GenerationRequeued(attempt=attempt, cause=cause, detail="d", not_before=LATER)
        if self.call(
            self.plain.bar(attempt) or self.plain.bar_to_a_new_attempt(),
            lambda: self.message.requeue(attempt, cause, "d", LATER),
            requeued,
        ):
            self.plain.open = False
            self.plain.given_up.append(cause)

    @precondition(lambda self: len(self.log) >= self.patience)
    @rule(by=st.sampled_from(("user", "timeout")))
    def request_stop(self, by: str) -> None:
        heard = not self.plain.terminal and not self.plain.stop_requested
        self.call(None, lambda: self.message.request_stop(by), *([StopRequested(by=by)] if heard else []))
        self.plain.stop_requested |= heard

    @precondition(lambda self: len(self.log) >= self.patience)
    @rule(caller=callers, how=st.sampled_from(("stop", "fail", "complete")))
    def end(self, caller: str, how: str) -> None:
        attempt, usage, length = self.attempt_of(caller), Usage(total_tokens=3), len(self.plain.answer())
        command, expected = {
            "stop": (
                lambda: self.message.stop(attempt, "user", usage, "f"),
                MessageStopped(by="user", attempt=attempt, offset=length, usage=usage, fingerprint="f"),
            ),
            "fail": (
                lambda: self.message.fail(attempt, "internal_server_error", "d"),
                MessageErrored(attempt=attempt, code="internal_server_error", message="d"),
            ),
            "complete": (
                lambda: self.message.complete(attempt, usage, "stop", "f"),
                MessageCompleted(attempt=attempt, usage=usage, finish_reason="stop", fingerprint="f"),
            ),
        }[how]
        if self.call(self.plain.bar(attempt, may_be_closed=how != "complete"), command, expected):
            self.plain.terminal += 1
            self.plain.is_completed = how == "complete"
            self.plain.open = False

    @rule(source=sources, rating=st.sampled_from(("like", "dislike")), content=st.none() | texts)
    def give_feedback(self, source: str, rating: str, content: str | None) -> None:
        given = FeedbackGiven(
            source=source, rating=rating, content=content, attempt=self.plain.newest, rated_version=len(self.log)
        )
        self.call(None, lambda: self.message.give_feedback(source, rating, content), given)
        self.plain.feedback[source] = (rating, content)

    @rule(source=sources)
    def withdraw_feedback(self, source: str) -> None:
        bar = None if source in self.plain.feedback else NothingToWithdrawError
        self.call(bar, lambda: self.message.withdraw_feedback(source), FeedbackWithdrawn(source=source))
        self.plain.feedback.pop(source, None)

    @rule()
    def load_again(self) -> None:
        """Another process goes on from what the ledger holds."""
        self.message = Message.fold(MESSAGE, self.log)

    # What holds after each step

    @invariant()
    def versions_count_from_one_without_gaps(self) -> None:
        assert self.versions == list(range(1, len(self.log) + 1))

    @invariant()
    def the_log_keeps_to_the_rules_whatever_was_called(self) -> None:
        current, is_open, ended = 0, False, False
        for body in self.log:
            assert not (ended and isinstance(body, GENERATION))
            if isinstance(body, GenerationStarted):
                assert body.attempt == current + 1
                current, is_open = body.attempt, True
            elif isinstance(body, OF_AN_ATTEMPT):
                assert is_open
                assert body.attempt == current
                is_open = not isinstance(body, GenerationRequeued)
            elif isinstance(body, TERMINAL):
                assert body.attempt == current
                is_open, ended = False, True
        assert sum(isinstance(body, TERMINAL) for body in self.log) == self.plain.terminal <= 1
        assert sum(isinstance(body, StopRequested) for body in self.log) == self.plain.stop_requested

    @invariant()
    def the_answer_is_the_fold_of_the_attempts_by_their_bases(self) -> None:
        assert list(self.message.answer) == self.plain.answer()
        assert self.message.answer_length == len(self.plain.answer())

    @invariant()
    def the_passages_are_those_of_the_newest_attempt(self) -> None:
        assert self.message.resources == self.plain.resources

    @invariant()
    def the_steps_and_their_files_are_those_of_the_newest_attempt(self) -> None:
        assert self.message.thoughts == {place: step(place, *said) for place, said in self.plain.steps.items()}
        assert self.message.files == tuple(made(number) for number in self.plain.made)

    @invariant()
    def what_became_of_earlier_attempts_is_counted(self) -> None:
        given_up = self.plain.given_up
        assert self.message.failures == given_up.count("internal_server_error")
        assert self.message.take_overs == given_up.count("taken over")
        assert self.message.attempt == self.plain.newest

    @invariant()
    def each_side_has_one_rating_at_most(self) -> None:
        assert self.message.feedback == {side: Feedback(*given) for side, given in self.plain.feedback.items()}

    @invariant()
    def the_state_tells_where_the_task_is(self) -> None:
        ends = {MessageStopped: "stopped", MessageErrored: "errored", MessageCompleted: "completed"}
        terminal = [ends[type(body)] for body in self.log if isinstance(body, TERMINAL)]
        if terminal:
            expected = terminal[0]
        elif self.plain.stop_requested:
            expected = "stopping"
        elif self.plain.open:
            expected = "running"
        else:
            expected = "retrying" if self.plain.newest else "queued"
        assert (self.message.state, self.message.has_ended) == (expected, bool(terminal))
        assert self.message.attempt_is_open == self.plain.open

    @invariant()
    def folding_the_log_anew_gives_the_same_message(self) -> None:
        anew = Message.fold(MESSAGE, self.log)
        assert seen(anew) == seen(self.message)


def step(position: int, words: str, tool: str) -> Thought:
    return Thought(thought_id=UUID(int=position), position=position, thought=words, tool=tool)


def made(number: int) -> AttachedFile:
    return AttachedFile(
        file_id=UUID(int=number), kind="image", transfer_method="tool_file", belongs_to="assistant", name="chart.png"
    )


def seen(message: Message) -> dict[str, Any]:
    public = {name: value for name, value in vars(message).items() if not name.startswith("_")}
    return public | {"answer": message.answer}


TestMessageMachine = MessageMachine.TestCase
TestMessageMachine.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
