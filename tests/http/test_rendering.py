"""From events to frames: what each event looks like, and what a follower sees of attempts that were dropped."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from chatledger.adapters.http.files import stable_links
from chatledger.adapters.http.rendering import Rendering
from chatledger.application.ledger.envelope import Envelope
from chatledger.domain.events import (
    AnnotationMatched,
    AnswerChunkAppended,
    AnswerReplaced,
    FeedbackGiven,
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
from chatledger.domain.values import NIL_UUID, Account, Resource, Usage
from tests.support.server import answer_of, events_of, frames_of

MESSAGE, CONVERSATION, TASK, OTHER = (UUID(int=number) for number in (1, 2, 3, 4))


def created(mode: Any = "chat") -> MessageCreated:
    return MessageCreated(
        conversation_id=CONVERSATION,
        parent_id=NIL_UUID,
        app_id=OTHER,
        end_user_id=OTHER,
        task_id=TASK,
        mode=mode,
        generator="scripted",
        prompt_version=1,
        context_cut=0,
        parameters={},
        inputs={},
        query="?",
    )


def enveloped(*bodies: Any) -> list[Envelope]:
    return [
        Envelope(version, MESSAGE, "message", version, OTHER, 7_900_000, 1, None, body)
        for version, body in enumerate(bodies, start=1)
    ]


def started(attempt: int = 1, offset: int = 0) -> GenerationStarted:
    base = "continue" if offset else "reset"
    return GenerationStarted(attempt=attempt, worker="w", base=base, offset=offset)


def said(text: str, attempt: int = 1) -> AnswerChunkAppended:
    return AnswerChunkAppended(attempt, text)


def requeued(attempt: int = 1) -> GenerationRequeued:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return GenerationRequeued(attempt=attempt, cause="internal_server_error", detail="", not_before=now)


def completed(attempt: int = 1) -> MessageCompleted:
    return MessageCompleted(attempt=attempt, usage=Usage(), finish_reason="stop", fingerprint="")


def stopped(attempt: int = 1) -> MessageStopped:
    return MessageStopped(by="user", attempt=attempt, offset=0, usage=Usage(), fingerprint="")


def stopped_by_moderation() -> MessageStopped:
    return MessageStopped(by="moderation", attempt=1, offset=4, usage=Usage(), fingerprint="")


def failed(attempt: int = 1) -> MessageErrored:
    return MessageErrored(attempt=attempt, code="completion_request_error", message="no")


def rendering(envelopes: Sequence[Envelope], *, shows_resources: bool = True, **more: Any) -> Rendering:
    return Rendering(MESSAGE, envelopes[0], shows_resources=shows_resources, link=stable_links("/v1"), **more)


def text_of(*bodies: Any, mode: Any = "chat", **options: Any) -> str:
    envelopes = enveloped(created(mode), *bodies)
    return rendering(envelopes, **options).render(envelopes).decode()


def names_of(*bodies: Any) -> list[str]:
    return [event["event"] for event in events_of(text_of(*bodies))]


def test_the_frame_of_a_piece_of_text_to_the_byte():
    assert text_of(started(), said('a "b"\n')) == (
        'data: {"event":"message","conversation_id":"00000000-0000-0000-0000-000000000002",'
        '"message_id":"00000000-0000-0000-0000-000000000001","created_at":7,'
        '"task_id":"00000000-0000-0000-0000-000000000003","id":"00000000-0000-0000-0000-000000000001",'
        '"answer":"a \\"b\\"\\n","from_variable_selector":null}\n\n'
    )


def test_an_agent_speaks_in_agent_messages():
    (event,) = events_of(text_of(started(), said("a"), mode="agent-chat"))
    assert (event["event"], event["answer"], "from_variable_selector" in event) == ("agent_message", "a", False)


def test_a_completion_has_no_conversation():
    events = events_of(text_of(started(), said("a"), completed(), mode="completion"))
    assert [event["event"] for event in events] == ["message", "message_end"]
    assert all("conversation_id" not in event for event in events)


def test_the_end():
    (end,) = events_of(text_of(started(), completed()))
    assert end["id"] == str(MESSAGE)
    assert end["files"] is None
    assert end["metadata"]["annotation_reply"] is None
    assert end["metadata"]["retriever_resources"] == []
    assert end["metadata"]["usage"]["total_price"] == "0"
    assert (end["metadata"]["status"], end["metadata"]["finish_reason"]) == ("completed", "stop")


def test_a_stop_is_an_end_that_tells_who():
    stopped = MessageStopped(by="timeout", attempt=1, offset=1, usage=Usage(), fingerprint="")
    *_, end = events_of(text_of(started(), said("a"), StopRequested(by="timeout"), stopped))
    assert end["event"] == "message_end"
    assert (end["metadata"]["status"], end["metadata"]["stopped_by"]) == ("stopped", "timeout")


def test_an_error_has_no_task():
    (error,) = events_of(text_of(started(), failed()))
    assert error == {
        "event": "error",
        "conversation_id": str(CONVERSATION),
        "message_id": str(MESSAGE),
        "created_at": 7,
        "code": "completion_request_error",
        "message": "no",
        "status": 400,
        "http_status": 400,
    }


def test_our_own_failures_tell_nothing_of_our_insides():
    errored = MessageErrored(attempt=1, code="internal_server_error", message="KeyError: secret")
    (error,) = events_of(text_of(started(), errored))
    assert (error["status"], error["message"]) == (500, "Internal Server Error, please contact support.")


@pytest.mark.parametrize("shows", [True, False])
def test_passages_are_shown_where_the_app_shows_them(shows):
    retrieved = ResourcesRetrieved(attempt=1, resources=(Resource(position=1, content="a passage", score=0.5),))
    (end,) = events_of(text_of(started(), retrieved, completed(), shows_resources=shows))
    shown = end["metadata"]["retriever_resources"]
    assert [(entry["position"], entry["content"]) for entry in shown] == ([(1, "a passage")] if shows else [])


CITED = (
    "position dataset_id dataset_name document_id document_name data_source_type segment_id retriever_from score "
    "hit_count word_count segment_position index_node_hash content page doc_metadata title files summary"
)


def test_a_passage_has_every_field_of_the_contract():
    full = Resource(
        position=9, dataset_id="d", document_id="e", page=3, hit_count=2, doc_metadata={"by": "Ann"}, files=({"id": 1},)
    )
    (end,) = events_of(text_of(started(), ResourcesRetrieved(attempt=1, resources=(full,)), completed()))
    (shown,) = end["metadata"]["retriever_resources"]
    assert set(CITED.split()) <= set(shown)
    assert (shown["position"], shown["page"], shown["hit_count"], shown["score"]) == (1, 3, 2, None)
    assert (shown["doc_metadata"], shown["files"]) == ({"by": "Ann"}, [{"id": 1}])


def test_passages_of_several_retrievals_are_one_list():
    def retrieved(*documents: str) -> ResourcesRetrieved:
        passages = tuple(Resource(position=1, dataset_id="d", document_id=document) for document in documents)
        return ResourcesRetrieved(attempt=1, resources=passages)

    (end,) = events_of(text_of(started(), retrieved("a", "b"), retrieved("b", "c"), completed()))
    shown = end["metadata"]["retriever_resources"]
    assert [(entry["position"], entry["document_id"]) for entry in shown] == [(1, "a"), (2, "b"), (3, "c")]


def test_another_text_takes_the_place_of_the_answer():
    replaced = AnswerReplaced(attempt=1, reason="output_moderation", text="No.")
    events = events_of(text_of(started(), said("a"), replaced, said("b"), stopped_by_moderation()))
    assert [event["event"] for event in events] == ["message", "message_replace", "message", "message_end"]
    assert (events[1]["answer"], events[1]["reason"], answer_of(events)) == ("No.", "", "No.b")
    assert events[1]["task_id"] == str(TASK)
    assert events[-1]["metadata"]["stopped_by"] == "moderation"


def test_another_attempt_replaces_a_replacement():
    replaced = AnswerReplaced(attempt=1, reason="output_moderation", text="No.")
    events = events_of(text_of(started(), said("a"), replaced, requeued(), started(2), said("b", 2), completed(2)))
    assert answer_of(events) == "b"


def test_the_annotation_that_answered_is_told_until_another_attempt():
    matched = AnnotationMatched(attempt=1, annotation_id=OTHER, score=1.0, account=Account(id=TASK, name="Ann"))
    (end,) = events_of(text_of(started(), matched, completed()))
    expected = {"id": str(OTHER), "account": {"id": str(TASK), "name": "Ann"}}
    assert end["metadata"]["annotation_reply"] == expected
    (end,) = events_of(text_of(started(), matched, requeued(), started(2), completed(2)))
    assert end["metadata"]["annotation_reply"] is None


def test_passages_of_a_dropped_attempt_are_dropped_with_it():
    retrieved = ResourcesRetrieved(attempt=1, resources=(Resource(position=1),))
    (end,) = events_of(text_of(started(), retrieved, requeued(), started(2), completed(2)))
    assert end["metadata"]["retriever_resources"] == []


def test_what_renders_nothing():
    rated = FeedbackGiven(source="user", rating="like", content=None, attempt=1, rated_version=1)
    assert text_of(started(), StopRequested(by="user"), requeued(), rated) == ""


@pytest.mark.parametrize(
    "separator", ["\u2028", "\u2029", "\u0085", "\n", "\r", "\v", "\f", "\x1c", "\u201cquoted\u201d"]
)
def test_every_event_is_one_line_for_every_reader(separator):
    text = text_of(started(), said(f"a{separator}b"), failed())
    assert [line for line in text.splitlines() if line] == [block for block in text.split("\n\n") if block]
    assert events_of(text)[0]["answer"] == f"a{separator}b"


# Attempts


def test_the_first_text_of_a_new_attempt_replaces_what_the_dropped_one_said():
    events = events_of(text_of(started(), said("old "), said("text"), started(2), said("new ", 2), said("text", 2)))
    assert [(event["event"], event["answer"]) for event in events] == [
        ("message", "old "),
        ("message", "text"),
        ("message_replace", "new "),
        ("message", "text"),
    ]
    assert events[2]["reason"] == ""


def test_an_attempt_that_said_nothing_needs_no_replacement():
    assert names_of(started(), requeued(), started(2), said("a", 2)) == ["message"]


def test_a_replacement_survives_further_attempts_without_text():
    events = events_of(text_of(started(), said("old"), started(2), started(3), said("new", 3)))
    assert [(event["event"], event["answer"]) for event in events] == [("message", "old"), ("message_replace", "new")]


def test_an_attempt_that_keeps_all_of_it_goes_on():
    assert names_of(started(), said("abc"), started(2, offset=3), said("d", 2)) == ["message", "message"]


def test_an_attempt_that_keeps_a_part_replaces_at_once():
    events = events_of(text_of(started(), said("abc"), started(2, offset=2), said("d", 2)))
    assert [event["event"] for event in events] == ["message", "message_replace", "message"]
    assert answer_of(events) == "abd"


def test_a_dropped_text_goes_with_a_whole_answer_that_has_none():
    events = events_of(text_of(started(), said("old"), started(2), completed(2)))
    assert events[1]["event"] == "message_replace"
    assert answer_of(events) == ""


@pytest.mark.parametrize("end", [stopped(2), failed(2)])
def test_a_dropped_text_stays_where_nothing_ever_came_in_its_place(end):
    events = events_of(text_of(started(), said("old"), started(2), started(3), end))
    assert [event["event"] for event in events][:1] == ["message"]
    assert len(events) == 2
    assert answer_of(events) == "old"


@pytest.mark.parametrize(
    "bodies",
    [
        (started(), said("a"), said("b"), completed()),
        (started(), said("a"), started(2), said("b", 2), completed(2)),
        (started(), said("abc"), started(2, offset=1), said("x", 2), started(3), said("y", 3), completed(3)),
        (started(), said("a"), started(2), failed(2)),
    ],
)
def test_whatever_happened_the_stream_adds_up_to_the_stored_answer(bodies):
    stored = Message.fold(MESSAGE, (created(), *bodies)).answer
    assert answer_of(events_of(text_of(*bodies))) == stored


# Resuming

HISTORY = (started(), said("a"), said("b"), requeued(), started(2), said("c", 2), completed(2))


@pytest.mark.parametrize("after", range(len(HISTORY) + 2))
def test_resuming_anywhere_gives_the_rest_to_the_byte(after):
    envelopes = enveloped(created(), *HISTORY)
    whole = rendering(envelopes, gives_ids=True).render(envelopes)
    before = rendering(envelopes, gives_ids=True).render(envelopes[:after])

    assert before + rendering(envelopes, gives_ids=True, after=after).render(envelopes) == whole


def test_batches_make_no_difference():
    envelopes = enveloped(created(), *HISTORY)
    at_once, one_by_one = rendering(envelopes), rendering(envelopes)
    pieces = [one_by_one.render([envelope]) for envelope in envelopes]

    assert b"".join(pieces) == at_once.render(envelopes)
    assert one_by_one.has_ended


def test_ids_stand_in_blocks_of_their_own_after_the_last_frame_of_their_event():
    blocks = frames_of(text_of(started(), said("a"), started(2), completed(2), gives_ids=True))
    assert [block if block.startswith("id") else json.loads(block[6:])["event"] for block in blocks] == [
        "message",
        f"id: {MESSAGE}:3",
        "message_replace",
        "message_end",
        f"id: {MESSAGE}:5",
    ]


def test_only_a_created_message_can_be_followed():
    with pytest.raises(TypeError):
        rendering(enveloped(started()))
