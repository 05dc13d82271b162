"""The life of a message, as a table: what was, what is commanded, what follows."""

from datetime import timedelta

import msgspec
import pytest

from chatledger.domain.errors import (
    FencedOutError,
    MessageEndedError,
    NothingToWithdrawError,
    StopPendingError,
)
from chatledger.domain.events import (
    FeedbackGiven,
    FeedbackWithdrawn,
    FileAttached,
    MessageSaved,
    MessageUnsaved,
    ResourcesRetrieved,
    StopRequested,
    SuggestedQuestionsProposed,
)
from chatledger.domain.message import Message
from chatledger.domain.values import Feedback, Resource
from tests.domain.facts import (
    ANNOTATION,
    AUTHOR,
    CHART,
    LATER,
    THOUGHT,
    USAGE,
    asked,
    attached,
    chunk,
    completed,
    continued,
    errored,
    handed_over,
    liked,
    matched,
    moderated,
    refused,
    replaced,
    requeued,
    reworded,
    started,
    stop_requested,
    stopped,
    thought,
)
from tests.domain.specification import AN_ID, given

PASSAGE = Resource(position=1, document_name="sky.md", content="Rayleigh scattering")
proposed = SuggestedQuestionsProposed(("a?",))
ENDINGS = [
    pytest.param([asked, started(1), chunk(1, "Because"), completed(1)], id="completed"),
    pytest.param([asked, started(1), chunk(1, "Because"), stop_requested, stopped(1, 7)], id="stopped"),
    pytest.param([asked, started(1), errored(1)], id="errored"),
    pytest.param([asked, stop_requested, stopped(0, 0)], id="stopped before it began"),
]


def start(base="reset", offset=0):
    return lambda message: message.start_attempt(f"worker-{message.attempt + 1}", base, offset)


def append(attempt, text):
    return lambda message: message.append_chunk(attempt, text)


def requeue(attempt):
    return lambda message: message.requeue(attempt, "completion_request_error", "the provider was busy", LATER)


def hand_over(attempt):
    return lambda message: message.requeue(attempt, "handed_over", "", LATER)


def stop(attempt):
    return lambda message: message.stop(attempt, "user", USAGE, "f2")


def fail(attempt):
    return lambda message: message.fail(attempt, "provider_quota_exceeded", "no credit left")


def complete(attempt):
    return lambda message: message.complete(attempt, USAGE, "stop", "f1")


def passages(*documents: str) -> tuple[Resource, ...]:
    return tuple(Resource(position=place, document_id=document) for place, document in enumerate(documents, 1))


def retrieve(attempt):
    return lambda message: message.record_resources(attempt, [PASSAGE])


def replace(attempt):
    return lambda message: message.replace_answer(attempt, "No.", "output_moderation")


def think(attempt):
    return lambda message: message.record_thought(attempt, THOUGHT)


def attach(attempt):
    return lambda message: message.attach_file(attempt, CHART)


def moderate(attempt):
    return lambda message: message.note_moderation(attempt, "output", "direct_output")


def match(attempt):
    return lambda message: message.match_annotation(attempt, ANNOTATION, 0.97, AUTHOR)


def propose(*questions):
    return lambda message: message.propose_questions(questions)


def save():
    return lambda message: message.save()


def unsave():
    return lambda message: message.unsave()


def rate(source="user", rating="like", content=None):
    return lambda message: message.give_feedback(source, rating, content)


def withdraw(source):
    return lambda message: message.withdraw_feedback(source)


def in_turn(attempt: int, context_cut: int):
    return msgspec.structs.replace(started(attempt), context_cut=context_cut)


queued = msgspec.structs.replace(asked, on_busy="queue")


def request_stop(by="user"):
    return lambda message: message.request_stop(by)


def test_a_message_begins_with_what_was_asked() -> None:
    given(Message).when(lambda _: Message.create(AN_ID, asked)).then(asked)


FOLLOWS = [
    ("the first attempt", [asked], start(), [started(1)]),
    ("a later attempt", [asked, started(1), requeued(1)], start(), [started(2)]),
    ("a take-over of an attempt that is still open", [asked, started(1)], start(), [started(2)]),
    (
        "a first attempt that waited for its turn",
        [asked],
        lambda message: message.start_attempt("worker-1", context_cut=77),
        [in_turn(1, 77)],
    ),
    (
        "a continuation keeps the offset that it names",
        [asked, started(1), chunk(1, "abc")],
        start("continue", 2),
        [continued(2, 2)],
    ),
    (
        "a continuation past the end keeps all there is",
        [asked, started(1), chunk(1, "abc")],
        start("continue", 9),
        [continued(2, 3)],
    ),
    (
        "a continuation before the beginning keeps nothing",
        [asked, started(1), chunk(1, "abc")],
        start("continue", -1),
        [continued(2, 0)],
    ),
    ("a reset has no offset", [asked, started(1), chunk(1, "abc")], start("reset", 2), [started(2)]),
    ("a chunk", [asked, started(1)], append(1, "Be"), [chunk(1, "Be")]),
    ("an empty chunk is no fact", [asked, started(1)], append(1, ""), []),
    ("a chunk while a stop is pending", [asked, started(1), stop_requested], append(1, "Be"), [chunk(1, "Be")]),
    ("passages", [asked, started(1)], retrieve(1), [ResourcesRetrieved(attempt=1, resources=(PASSAGE,))]),
    ("another text in place of the answer", [asked, started(1), chunk(1, "Be")], replace(1), [replaced(1, "No.")]),
    (
        "another text, which takes the words of the steps with it",
        [asked, started(1), thought(1)],
        replace(1),
        [msgspec.structs.replace(thought(1), thought=""), replaced(1, "No.")],
    ),
    ("a step of an agent", [asked, started(1)], think(1), [thought(1)]),
    ("a file that a tool made", [asked, started(1)], attach(1), [attached(1)]),
    ("a hit of the moderation", [asked, started(1)], moderate(1), [moderated(1)]),
    ("an annotation that answers", [asked, started(1)], match(1), [matched(1)]),
    ("questions to ask next", [asked, started(1), completed(1)], propose("a?"), [proposed]),
    ("no questions before the end", [asked, started(1)], propose("a?"), []),
    ("no questions a second time", [asked, started(1), completed(1), proposed], propose("b?"), []),
    ("a message is saved", [asked], save(), [MessageSaved()]),
    ("a message that is saved", [asked, MessageSaved()], save(), []),
    ("a message is no longer saved", [asked, MessageSaved()], unsave(), [MessageUnsaved()]),
    ("a message that was never saved", [asked], unsave(), []),
    ("a requeue", [asked, started(1)], requeue(1), [requeued(1)]),
    ("a worker that has to go", [asked, started(1)], hand_over(1), [handed_over(1)]),
    ("the end", [asked, started(1), chunk(1, "Be")], complete(1), [completed(1)]),
    ("the end, a stop pending", [asked, started(1), stop_requested], complete(1), [completed(1)]),
    (
        "a stop keeps what was answered, counted in code points",
        [asked, started(1), chunk(1, "a𝄞")],
        stop(1),
        [stopped(1, 2)],
    ),
    ("a stop before the first attempt", [asked, stop_requested], stop(0), [stopped(0, 0)]),
    ("a stop between two attempts", [asked, started(1), chunk(1, "a"), requeued(1)], stop(1), [stopped(1, 1)]),
    ("a failure", [asked, started(1)], fail(1), [errored(1)]),
    ("a failure before the first attempt", [asked], fail(0), [errored(0)]),
    ("a failure between two attempts", [asked, started(1), requeued(1)], fail(1), [errored(1)]),
    ("a request to stop", [asked, started(1)], request_stop(), [stop_requested]),
    ("a request to stop by the clock", [asked], request_stop("timeout"), [StopRequested(by="timeout")]),
    ("a second request to stop", [asked, stop_requested], request_stop("timeout"), []),
    ("a rating before any answer", [asked], rate(), [liked(0, 1)]),
    (
        "a rating tells what it rated",
        [asked, started(1), requeued(1), started(2)],
        rate(content="ok"),
        [liked(2, 4, "ok")],
    ),
    (
        "an admin's rating beside the user's",
        [asked, liked(0, 1)],
        rate("admin", "dislike"),
        [FeedbackGiven(source="admin", rating="dislike", content=None, attempt=0, rated_version=2)],
    ),
    ("a rating taken back", [asked, liked(0, 1)], withdraw("user"), [FeedbackWithdrawn(source="user")]),
]


@pytest.mark.parametrize(("history", "command", "events"), [pytest.param(*row, id=name) for name, *row in FOLLOWS])
def test_what_follows(history, command, events) -> None:
    given(Message, *history).when(command).then(*events)


REFUSALS = [
    ("an attempt while a stop is pending", [asked, stop_requested], start(), StopPendingError),
    ("a requeue while a stop is pending", [asked, started(1), stop_requested], requeue(1), StopPendingError),
    ("a chunk before the first attempt", [asked], append(0, "Be"), FencedOutError),
    ("a chunk of a fenced attempt", [asked, started(1), started(2)], append(1, "Be"), FencedOutError),
    ("even an empty chunk of a fenced attempt", [asked, started(1), started(2)], append(1, ""), FencedOutError),
    ("a chunk of an attempt yet to come", [asked, started(1)], append(2, "Be"), FencedOutError),
    ("a chunk of an attempt given up", [asked, started(1), requeued(1)], append(1, "Be"), FencedOutError),
    ("passages of a fenced attempt", [asked, started(1), started(2)], retrieve(1), FencedOutError),
    ("passages of an attempt given up", [asked, started(1), requeued(1)], retrieve(1), FencedOutError),
    *(
        (f"{command.__name__} in a fenced attempt", [asked, started(1), started(2)], command(1), FencedOutError)
        for command in (replace, think, attach, moderate, match)
    ),
    ("a requeue of a fenced attempt", [asked, started(1), started(2)], requeue(1), FencedOutError),
    ("a second requeue", [asked, started(1), requeued(1)], requeue(1), FencedOutError),
    ("a stop of a fenced attempt", [asked, started(1), started(2)], stop(1), FencedOutError),
    ("a failure of a fenced attempt", [asked, started(1), started(2)], fail(1), FencedOutError),
    ("an end of a fenced attempt", [asked, started(1), started(2)], complete(1), FencedOutError),
    ("an end of an attempt given up", [asked, started(1), requeued(1)], complete(1), FencedOutError),
    ("an end before the first attempt", [asked], complete(0), FencedOutError),
    ("a rating taken back that nobody gave", [asked], withdraw("user"), NothingToWithdrawError),
    ("a rating of the other side taken back", [asked, liked(0, 1)], withdraw("admin"), NothingToWithdrawError),
    (
        "a rating taken back twice",
        [asked, liked(0, 1), FeedbackWithdrawn(source="user")],
        withdraw("user"),
        NothingToWithdrawError,
    ),
]


@pytest.mark.parametrize(("history", "command", "error"), [pytest.param(*row, id=name) for name, *row in REFUSALS])
def test_what_is_refused(history, command, error) -> None:
    given(Message, *history).when(command).then_refused(error)


@pytest.mark.parametrize("history", ENDINGS)
@pytest.mark.parametrize(
    "command",
    [start, append, retrieve, replace, think, attach, moderate, match, requeue, stop, fail, complete],
    ids=lambda made: made.__name__,
)
def test_after_the_end_nothing_is_generated(history, command) -> None:
    newest = Message.fold(AN_ID, history).attempt
    arguments = {start: (), append: (newest, "more")}.get(command, (newest,))
    given(Message, *history).when(command(*arguments)).then_refused(MessageEndedError)


@pytest.mark.parametrize("history", ENDINGS)
def test_after_the_end_feedback_goes_on_and_a_request_to_stop_is_nothing(history) -> None:
    attempt, version = Message.fold(AN_ID, history).attempt, len(history)
    given(Message, *history).when(rate()).then(liked(attempt, version))
    given(Message, *history, liked(attempt, version)).when(withdraw("user")).then(FeedbackWithdrawn(source="user"))
    given(Message, *history).when(request_stop()).then()


def test_the_number_of_an_attempt_is_told_to_who_starts_it() -> None:
    assert Message.fold(AN_ID, [asked, started(1), started(2)]).start_attempt("w") == 3


def test_the_next_attempt_waits_until_its_time_unless_it_is_stopped() -> None:
    early, waiting = LATER - timedelta(seconds=1), [asked, started(1), requeued(1)]
    moments = [Message.fold(AN_ID, waiting).is_put_back_at(moment) for moment in (early, LATER)]
    assert moments == [True, False]
    assert not Message.fold(AN_ID, [asked]).is_put_back_at(early)
    assert not Message.fold(AN_ID, [*waiting, stop_requested]).is_put_back_at(early)


SEEN = [
    ("queued", [asked], {"state": "queued", "attempt": 0, "answer": "", "created": asked, "has_ended": False}),
    ("running", [asked, started(1)], {"state": "running", "attempt": 1, "attempt_is_open": True}),
    (
        "an answer grows",
        [asked, started(1), chunk(1, "a"), chunk(1, "𝄞"), chunk(1, "b")],
        {"answer": "a𝄞b", "answer_length": 3},
    ),
    (
        "a reset drops the passages",
        [asked, started(1), chunk(1, "abc"), ResourcesRetrieved(attempt=1, resources=(PASSAGE,)), started(2)],
        {"resources": ()},
    ),
    (
        "passages of several retrievals are one list",
        [
            asked,
            started(1),
            ResourcesRetrieved(attempt=1, resources=passages("a", "b")),
            ResourcesRetrieved(attempt=1, resources=passages("b", "c")),
        ],
        {"resources": passages("a", "b", "c")},
    ),
    (
        "another text counts in place of all before it",
        [asked, started(1), chunk(1, "abc"), replaced(1, "𝄞"), chunk(1, "b")],
        {"answer": "𝄞b", "answer_length": 2},
    ),
    (
        "what an agent did",
        [asked, started(1), thought(1), attached(1)],
        {"thoughts": {1: THOUGHT}, "files": (CHART,)},
    ),
    ("a file that was erased", [asked, started(1), FileAttached(attempt=1, file=None)], {"files": ()}),
    (
        "a later attempt drops what an agent did, and what an annotation said",
        [asked, started(1), thought(1), attached(1), matched(1), started(2)],
        {"thoughts": {}, "files": (), "annotation": None},
    ),
    (
        "a hit of the moderation and an annotation",
        [asked, started(1), moderated(1), matched(1)],
        {"annotation": matched(1), "answer": "", "is_refused": False},
    ),
    ("a question that may not be asked", [asked, started(1), refused(1), moderated(1)], {"is_refused": True}),
    (
        "a question that is asked in other words",
        [asked, started(1), reworded(1), moderated(1)],
        {"admitted_query": "what ***?", "is_refused": False},
    ),
    ("a later attempt words it anew", [asked, started(1), reworded(1), started(2)], {"admitted_query": None}),
    ("a later attempt judges anew", [asked, started(1), refused(1), started(2)], {"is_refused": False}),
    ("questions to ask next", [asked, started(1), completed(1), proposed], {"suggestions": ("a?",)}),
    ("what need not wait", [asked], {"waits": False}),
    ("what waits for its turn", [queued], {"waits": True}),
    ("whose turn has come", [queued, in_turn(1, 77), requeued(1)], {"waits": False}),
    ("what is stopped while it waits", [queued, stop_requested, stopped(0, 0)], {"waits": False}),
    ("history is read up to the cut of the question", [asked, started(1)], {"context_cut": 41}),
    ("and where that had to wait, of its first attempt", [asked, in_turn(1, 77), started(2)], {"context_cut": 77}),
    ("saved", [asked, MessageSaved()], {"is_saved": True}),
    ("no longer saved", [asked, MessageSaved(), MessageUnsaved()], {"is_saved": False}),
    (
        "a continuation keeps code points, not code units",
        [asked, started(1), chunk(1, "𝄞𝄞c"), continued(2, 1), chunk(2, "d")],
        {"answer": "𝄞d", "answer_length": 2},
    ),
    (
        "a continuation of a continuation",
        [asked, started(1), chunk(1, "abc"), continued(2, 2), chunk(2, "X"), continued(3, 3), chunk(3, "Y")],
        {"answer": "abXY", "answer_length": 4, "attempt": 3},
    ),
    (
        "what a reset drops stays until there is text in its place",
        [asked, started(1), chunk(1, "abc"), started(2), started(3)],
        {"answer": "abc", "answer_length": 3, "completed_answer": ""},
    ),
    (
        "the first text of a reset takes its place",
        [asked, started(1), chunk(1, "abc"), started(2), chunk(2, "d"), chunk(2, "e")],
        {"answer": "de", "answer_length": 2, "completed_answer": "de"},
    ),
    (
        "a replacement takes its place, even by nothing",
        [asked, started(1), chunk(1, "abc"), started(2), replaced(2, ""), chunk(2, "e")],
        {"answer": "e", "answer_length": 1},
    ),
    (
        "a continuation of what a reset would have dropped",
        [asked, started(1), chunk(1, "abc"), started(2), continued(3, 2), chunk(3, "d")],
        {"answer": "abd", "answer_length": 3, "completed_answer": "abd"},
    ),
    (
        "a whole answer without text has none",
        [asked, started(1), chunk(1, "abc"), started(2), completed(2)],
        {"answer": "", "answer_length": 0},
    ),
    (
        "a stop before a reset had text keeps what was delivered",
        [asked, started(1), chunk(1, "abc"), started(2), stopped(2, 3)],
        {"answer": "abc", "answer_length": 3},
    ),
    (
        "so does a failure",
        [asked, started(1), chunk(1, "abc"), started(2), errored(2)],
        {"answer": "abc", "answer_length": 3},
    ),
    (
        "retrying, the answer still there to build on",
        [asked, started(1), chunk(1, "abc"), requeued(1)],
        {"state": "retrying", "attempt_is_open": False, "answer": "abc"},
    ),
    ("no attempt has failed yet", [asked, started(1)], {"failures": 0, "take_overs": 0}),
    ("an attempt that failed", [asked, started(1), requeued(1), started(2)], {"failures": 1, "take_overs": 0}),
    ("an attempt that was taken over", [asked, started(1), started(2)], {"failures": 0, "take_overs": 1}),
    (
        "an attempt that was handed over has neither failed nor was it taken over",
        [asked, started(1), handed_over(1), started(2)],
        {"failures": 0, "take_overs": 0, "attempt": 2},
    ),
    (
        "failures and take-overs are counted over all attempts",
        [asked, started(1), requeued(1), started(2), started(3), handed_over(3), started(4), requeued(4)],
        {"failures": 2, "take_overs": 1, "attempt": 4},
    ),
    ("stopping", [asked, started(1), stop_requested], {"state": "stopping", "stop_requested_by": "user"}),
    (
        "stopped",
        [asked, started(1), chunk(1, "ab"), stopped(1, 2)],
        {"state": "stopped", "has_ended": True, "answer": "ab", "attempt_is_open": False, "error": None},
    ),
    (
        "errored",
        [asked, started(1), chunk(1, "ab"), errored(1)],
        {"state": "errored", "has_ended": True, "answer": "ab", "attempt_is_open": False, "error": errored(1)},
    ),
    (
        "completed with its passages",
        [asked, started(1), ResourcesRetrieved(attempt=1, resources=(PASSAGE,)), completed(1)],
        {"state": "completed", "has_ended": True, "resources": (PASSAGE,), "attempt_is_open": False},
    ),
    (
        "the second rating of a side replaces its first",
        [
            asked,
            liked(0, 1),
            FeedbackGiven(source="user", rating="dislike", content="no", attempt=0, rated_version=2),
            FeedbackGiven(source="admin", rating="like", content=None, attempt=0, rated_version=3),
        ],
        {"feedback": {"user": Feedback("dislike", "no"), "admin": Feedback("like", None)}},
    ),
    ("a rating taken back is gone", [asked, liked(0, 1), FeedbackWithdrawn(source="user")], {"feedback": {}}),
]


@pytest.mark.parametrize(("history", "expected"), [pytest.param(*row, id=name) for name, *row in SEEN])
def test_how_a_history_is_seen(history, expected) -> None:
    given(Message, *history).is_seen_as(version=len(history), **expected)
