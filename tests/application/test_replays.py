"""What a replay shows, at which pace, and what a shadow is asked."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
import pytest

from chatledger.adapters.http.files import stable_links
from chatledger.adapters.http.rendering import Rendering
from chatledger.adapters.persistence.store import SqlLedgerReading
from chatledger.application.commands.new_message import NewMessage
from chatledger.application.errors import NotFoundError
from chatledger.application.generation.prompts import Prompts
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.generator import Finish, GenerationRequest, GeneratorError, Text, TokenCount
from chatledger.application.replay.differences import likeness, marked
from chatledger.application.replay.replays import LONGEST_IDLE, Replays, paced
from chatledger.application.replay.shadow import Rival, ShadowLimits, ShadowReport, Shadows
from chatledger.application.replay.showing import Screen, Shown
from chatledger.domain.message import Message
from chatledger.domain.values import Usage
from tests.application.chat import Chat
from tests.application.test_moderating import ON, PRESET, moderate
from tests.persistence.stores import a_question
from tests.support.recalling import RecallingGenerator

FOREVER = 2**62


# What is shown


def an_answer(*moves: Any) -> list[Envelope]:
    """The events of a message that these moves were made with."""
    message = Message.create(UUID(int=9), a_question("Why?"))
    for move in moves:
        move(message)
    bodies = [recorded.body for recorded in message.collect_events()]
    return [
        Envelope(number, message.id, "message", number, UUID(int=number), 1_000 * number, number, None, body)
        for number, body in enumerate(bodies, 1)
    ]


def begins(base: str = "reset", offset: int = 0) -> Any:
    return lambda message: message.start_attempt("worker", base, offset)


def says(text: str) -> Any:
    return lambda message: message.append_chunk(message.attempt, text)


def completes(message: Message) -> None:
    message.complete(message.attempt, Usage(total_tokens=3), "stop", "f")


def replaces(message: Message) -> None:
    message.replace_answer(message.attempt, "Never mind.", "output_moderation")


def stops(message: Message) -> None:
    message.request_stop("user")
    message.stop(message.attempt, "user", Usage(), "f")


@pytest.mark.parametrize(
    ("moves", "shown"),
    [
        ((begins(), says("A"), says("B"), completes), [("text", "A"), ("text", "B"), ("completed", "")]),
        (
            (begins(), says("A"), begins(), says("B"), says("C"), completes),
            [("text", "A"), ("replacement", "B"), ("text", "C"), ("completed", "")],
        ),
        (
            (begins(), says("ABC"), begins("continue", 2), completes),
            [("text", "ABC"), ("replacement", "AB"), ("completed", "")],
        ),
        ((begins(), says("A"), begins(), completes), [("text", "A"), ("replacement", ""), ("completed", "")]),
        ((begins(), says("A"), begins(), stops), [("text", "A"), ("stop_requested", ""), ("stopped", "")]),
        (
            (begins(), says("A"), replaces, completes),
            [("text", "A"), ("replacement", "Never mind."), ("completed", "")],
        ),
        (
            (begins(), lambda message: message.fail(1, "internal_server_error", "Broken.")),
            [("error", "Broken.")],
        ),
    ],
)  # fmt: skip
def test_a_replay_shows_what_the_stream_did(moves: Any, shown: list[tuple[str, str]]) -> None:
    envelopes = an_answer(*moves)
    screen, text = Screen(UUID(int=9)), ""
    rendering = Rendering(UUID(int=9), envelopes[0], shows_resources=True, link=stable_links("/v1"))
    told: list[Shown] = []
    for envelope in envelopes:
        things = screen.show(envelope)
        rendering.render([envelope])
        for thing in things:
            text = thing.text if thing.kind == "replacement" else text + thing.text * (thing.kind == "text")
        assert text == rendering.answer
        told += things
    assert [(thing.kind, thing.text) for thing in told] == [("question", "Why?"), *shown]
    assert screen.is_busy is False


@pytest.mark.parametrize(
    ("speed", "waits"),
    [(1.0, [0.3, 1.7, 2.0, 0.0]), (10.0, [0.03, 0.17, 0.2, 0.0]), (0.5, [0.6, 3.4, 4.0, 0.0]), (None, [])],
)
async def test_a_replay_goes_at_the_recorded_pace_or_any_other(speed: float | None, waits: list[float]) -> None:
    class Clock:
        passed = 0.0

        def monotonic(self) -> float:
            return self.passed

    clock, slept = Clock(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        clock.passed += seconds

    async def things() -> AsyncIterator[tuple[Shown, bool]]:
        # Then nobody asks anything for a day.
        times = ((0, True), (300_000, True), (2_000_000, False), (86_402_000_000, True), (86_402_000_000, False))
        for at, is_busy in times:
            yield Shown(message_id=UUID(int=9), position=1, version=1, at=at, kind="text"), is_busy

    assert [thing.at async for thing in paced(things(), speed, clock, sleep)][-1] == 86_402_000_000
    assert LONGEST_IDLE == 2_000_000
    assert slept == waits


async def test_what_is_done_to_an_answer_later_is_no_answering(open_chat: Any) -> None:
    async with open_chat() as chat:
        first = await chat.answered("tokens=1")
        await chat.application.rating.rate(chat.caller(), first.message_id, "like", None)
        await chat.answered("tokens=1", conversation=first.conversation_id)
        told = [each async for each in Rivals(chat).replays.shown(first.conversation_id, FOREVER)]
        assert [is_busy for thing, is_busy in told if thing.kind == "completed"] == [False, False]


# Shadows


class Rivals:
    """What shadows of a chat need."""

    def __init__(self, chat: Chat, **limits: Any) -> None:
        running = chat.running
        self.ledger = SqlLedgerReading(running.reader)
        self.replays = Replays(self.ledger, running.codec, chat.application.views)
        prompts = Prompts(chat.application.views, running.ledger.read, chat.application.files.sent)
        self.shadows = Shadows(self.replays, prompts, chat.application.clock, ShadowLimits(**limits))
        self.progress: list[tuple[int, int]] = []

    async def compare(self, stream_id: UUID, generator: Any, up_to: int = FOREVER) -> ShadowReport:
        rival = Rival(generator, {})
        return await self.shadows.compare(stream_id, rival, up_to, lambda *done: self.progress.append(done))


class Heckler(RecallingGenerator):
    """Keeps all that it is asked, and says what it is told to say."""

    name = "heckler"

    def __init__(self, *parts: Any, failure: Exception | None = None) -> None:
        super().__init__()
        self.parts = parts
        self.failure = failure
        self.requests: dict[UUID, GenerationRequest] = {}
        self.variables: dict[UUID, Any] = {}

    async def generate(self, request: GenerationRequest) -> Any:
        self.requests[request.message_id] = request
        self.heard[request.message_id].append(list(await request.history()))
        self.variables[request.message_id] = await request.variables()
        for part in self.parts:
            yield part
        if self.failure is not None:
            raise self.failure


async def test_a_shadow_is_asked_what_the_original_was(open_chat: Any) -> None:
    original, shadow = RecallingGenerator(), Heckler(Text("a0 a1 b2 "), TokenCount(7, 3), Finish("stop"))
    async with open_chat(generators=[original]) as chat:
        chat.app = await chat.new_app(generator="recalling")
        first = await ask(chat, "a 3 0")
        conversation = first.conversation_id
        for query, parent in (
            ("b 2 0", UUID(int=0)),
            ("c 1 0", first.message_id),
            ("d 1 0", None),
            ("e 1 0", UUID(int=0)),
        ):
            await ask(chat, query, conversation=conversation, parent_id=parent)
        # One is still being answered when the next is asked: it is no part of that one's history.
        new = NewMessage(query="f 3 100", inputs={}, conversation_id=conversation)
        slow = await chat.application.sending.send(chat.caller(), new)
        await ask(chat, "g 1 0", conversation=conversation)
        await chat.to_the_end(slow)
        rivals, before = Rivals(chat), (await chat.running.store.head()).position

        report = await rivals.compare(conversation, shadow)

        assert {message: heard[-1] for message, heard in original.heard.items()} == {
            message: heard[-1] for message, heard in shadow.heard.items()
        }
        assert [each.question for each in report.messages] == [
            *("a 3 0", "b 2 0", "c 1 0", "d 1 0", "e 1 0"),
            *("f 3 100", "g 1 0"),
        ]
        assert {request.query for request in shadow.requests.values()} == {each.question for each in report.messages}
        assert (report.compared, report.skipped, report.equal) == (7, 0, 0)
        compared = report.messages[0]
        assert (compared.original.text, compared.shadow.text) == ("a0 a1 a2 ", "a0 a1 b2 ")
        assert compared.shadow.usage.total_tokens == 10
        assert 0.6 < compared.likeness < 1
        assert rivals.progress[-1] == (7, 7)
        assert (await chat.running.store.head()).position == before
        with pytest.raises(NotFoundError):
            await rivals.compare(chat.app.app_id, shadow)


async def test_a_shadow_of_the_past_stands_beside_what_was_said_by_then(open_chat: Any) -> None:
    async with open_chat() as chat:
        first = await chat.answered("tokens=4 interval_ms=60")
        second = await chat.answered("tokens=2", conversation=first.conversation_id)
        events = await chat.events(first.message_id)
        report = await Rivals(chat).compare(first.conversation_id, Heckler(Text("t0 ")), events[2].position)
        (only,) = report.messages
        assert (only.original.outcome, only.original.text, only.likeness) == ("running", "t0 ", 1.0)
        assert report.original == msgspec.structs.replace(report.original, errors=0, completion_tokens=0)
        (alone,) = (await Rivals(chat).compare(second.message_id, Heckler(Text("no")))).messages
        assert alone.message_id == second.message_id


@pytest.mark.parametrize(
    ("failure", "limits", "outcome", "code", "text"),
    [
        (GeneratorError("quota", "No money."), {}, "errored", "provider_quota_exceeded", "t0 "),
        (RuntimeError("t0 in a trace"), {}, "errored", "internal_server_error", "t0 "),
        (None, {"longest_answer": 2}, "completed", None, "t0"),
    ],
)
async def test_what_becomes_of_a_shadow_that_fails(
    open_chat: Any, failure: Exception | None, limits: dict[str, int], outcome: str, code: str | None, text: str
) -> None:
    async with open_chat() as chat:
        first = await chat.answered("tokens=1")
        report = await Rivals(chat, **limits).compare(first.message_id, Heckler(Text("t0 "), failure=failure))
        shadow = report.messages[0].shadow
        assert (shadow.outcome, shadow.error_code, shadow.text) == (outcome, code, text)
        assert report.shadow.errors == (outcome == "errored")
        assert shadow.error is None or "trace" not in shadow.error


async def test_what_may_not_be_asked_or_is_erased_is_not_asked_again(open_chat: Any) -> None:
    async with open_chat() as chat:
        erased = await chat.answered("tokens=1")
        await moderate(chat, inputs_config=ON, keywords="badword")
        refused = await ask(chat, "a badword", conversation=erased.conversation_id)
        (created, *_) = await chat.events(erased.message_id)
        shadow = Heckler(Text("t0 "))
        (only,) = (await Rivals(chat).compare(refused.message_id, shadow)).messages
        assert (only.skipped, only.shadow, only.original.text) == ("refused", None, PRESET)

        chat.running.ledger.keyring.destroy([created.key_id])
        report = await Rivals(chat).compare(erased.conversation_id, shadow)
        assert [(each.skipped, each.question, each.original.text) for each in report.messages] == [
            ("erased", "", "")
        ] * 2
        assert (report.compared, report.skipped, report.likeness) == (0, 2, None)
        assert shadow.requests == {}


async def ask(chat: Chat, query: str, **more: Any) -> Any:

    conversation = more.pop("conversation", None)
    new = NewMessage(query=query, inputs={}, conversation_id=conversation, **more)
    sent = await chat.application.sending.send(chat.caller(), new)
    await chat.to_the_end(sent)
    return await chat.view(sent.message_id)


# Differences


@pytest.mark.parametrize(
    ("ours", "theirs", "alike", "both"),
    [
        ("", "", 1.0, ""),
        ("A ledger.", "A ledger.", 1.0, "A ledger."),
        ("A ledger.", "", 0.0, "[-A ledger.-]"),
        ("A red book.", "A blue book.", 0.8, "A [-red-]{+blue+} book."),
        ("帳簿です", "帳面です", 0.75, "帳[-簿-]{+面+}です"),
        (f"{'same ' * 60}a", f"{'same ' * 60}b", None, f"{'same ' * 6} ... {'same ' * 6}[-a-]{{+b+}}"),
    ],
)
def test_how_two_answers_differ(ours: str, theirs: str, alike: float | None, both: str) -> None:
    assert alike is None or likeness(ours, theirs) == alike
    assert marked(ours, theirs) == both


def test_long_answers_are_compared_by_lines() -> None:
    lines = [f"{'word ' * 20}{number}\n" for number in range(200)]
    ours, theirs = "".join(lines), "".join([*lines[:100], "other\n", *lines[101:]])
    assert likeness(ours, theirs) == 0.995
    assert f"[-{lines[100]}-]{{+other\n+}}" in marked(ours, theirs)
