"""What the events of messages change."""

from collections.abc import Callable, Sequence
from typing import Any, assert_never
from uuid import UUID

import msgspec

from chatledger.application.ledger.envelope import Envelope, day_of, to_microseconds
from chatledger.application.ledger.projected.files import files_shown
from chatledger.application.ledger.projected.sealing import Sealing
from chatledger.application.ledger.sealed_rows import Answer, FeedbackContent, Question, Suggestions
from chatledger.application.ports.storage import Change, Delete, Increase, Insert, Update, Upsert
from chatledger.domain.events import (
    AgentThoughtRecorded,
    AnnotationMatched,
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
    MessageEvent,
    MessageSaved,
    MessageStopped,
    MessageUnsaved,
    ModerationHit,
    ResourcesRetrieved,
    StopRequested,
    SuggestedQuestionsProposed,
)
from chatledger.domain.message import Message
from chatledger.domain.values import NIL_UUID, TURN_TAKERS, AttachedFile, TaskState, Usage

CHANGES_NOTHING = (AnswerChunkAppended, AnswerReplaced, AgentThoughtRecorded, ResourcesRetrieved, ModerationHit)
"""What an answer is made of. It is written to its row once, by the terminal event."""


class MessageChanges:
    """From an event of a message to the changes that it makes."""

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing

    def changes(  # noqa: PLR0911, PLR0912 - one case for each event type
        self, envelope: Envelope, body: MessageEvent, folded: Callable[[], Message]
    ) -> Sequence[Change]:
        """What an event changes. ``folded`` gives its message as it stood right after it."""
        if isinstance(body, CHANGES_NOTHING):
            return ()
        match body:
            case MessageCreated():
                return self._message_created(envelope, body)
            case GenerationStarted():
                values: dict[str, Any] = {"state": "running", "attempt": body.attempt, "not_before": None}
                if body.attempt == 1:
                    values |= {"started_at": envelope.recorded_at, "waits": False}
                elif body.base == "reset":
                    values["annotation_id"] = None
                return (_message(envelope, values),)
            case GenerationRequeued():
                return (_message(envelope, {"state": "retrying", "not_before": to_microseconds(body.not_before)}),)
            case StopRequested():
                return (_message(envelope, {"state": "stopping"}),)
            case MessageCompleted():
                return self._message_ended(envelope, "completed", folded(), body.usage)
            case MessageStopped():
                return self._message_ended(envelope, "stopped", folded(), body.usage, stopped_by=body.by)
            case MessageErrored():
                return self._message_errored(envelope, body, folded())
            case FeedbackGiven():
                message = folded()
                return (*self._feedback_given(envelope, body, message), _later(envelope, message))
            case FeedbackWithdrawn():
                return (*_feedback_withdrawn(envelope, body), _later(envelope, folded()))
            case FileAttached():
                return _references(() if body.file is None else (body.file,), folded().created.conversation_id)
            case AnnotationMatched():
                return (_message(envelope, {"annotation_id": body.annotation_id}),)
            case SuggestedQuestionsProposed():
                sealed = self._sealing.seal(envelope, Suggestions(body.questions), envelope.stream_id)
                return (_message(envelope, {"suggestions": sealed}), _later(envelope, folded()))
            case MessageSaved():
                return (_message(envelope, {"saved_position": envelope.position}), _later(envelope, folded()))
            case MessageUnsaved():
                return (_message(envelope, {"saved_position": None}), _later(envelope, folded()))
            case _:
                assert_never(body)

    def _message_created(self, envelope: Envelope, body: MessageCreated) -> Sequence[Change]:
        message_id, position, at = envelope.stream_id, envelope.position, envelope.recorded_at
        question = self._sealing.seal(envelope, Question(body.query, body.inputs, body.files), message_id)
        row = {
            "message_id": message_id,
            "conversation_id": body.conversation_id,
            "app_id": body.app_id,
            "end_user_id": body.end_user_id,
            "parent_id": body.parent_id,
            "is_branch": body.parent_id != NIL_UUID,
            "task_id": body.task_id,
            "key_id": envelope.key_id,
            "mode": body.mode,
            "position": position,
            "created_at": at,
            "state": "queued",
            "attempt": 0,
            "fingerprint": body.fingerprint,
            "idempotency_key": body.idempotency_key,
            "replayed_from": body.replayed_from,
            "on_busy": body.on_busy,
            "waits": body.on_busy in TURN_TAKERS,
            "question": question,
        }
        bump = Update(
            "conversations",
            {"conversation_id": body.conversation_id},
            {"updated_at": at, "updated_position": position},
        )
        return (Insert("messages", row), bump, *_replays(body), *_references(body.files, body.conversation_id))

    def _message_ended(
        self,
        envelope: Envelope,
        state: TaskState,
        message: Message,
        usage: Usage | None,
        *,
        stopped_by: str | None = None,
        error_code: str | None = None,
    ) -> Sequence[Change]:
        error = message.error.message if message.error else None
        thoughts = tuple(message.thoughts.values())
        account = message.annotation.account if message.annotation else None
        answer = Answer(
            message.answer, error, message.resources, thoughts, message.files, account, message.admitted_query
        )
        values = {
            "state": state,
            "not_before": None,
            "waits": False,
            "ended_at": envelope.recorded_at,
            "ended_position": envelope.position,
            "enters_prompts": bool(message.answer_length) and not message.is_refused,
            "usage": None if usage is None else msgspec.json.encode(usage).decode(),
            "stopped_by": stopped_by,
            "error_code": error_code,
            "answer": self._sealing.seal(envelope, answer, envelope.stream_id),
        }
        if usage is None or not usage.total_tokens:
            return (_message(envelope, values),)
        day = {"app_id": message.created.app_id, "day": day_of(envelope.recorded_at)}
        return (_message(envelope, values), Increase("token_usage", day, {"tokens": usage.total_tokens}))

    def _message_errored(self, envelope: Envelope, body: MessageErrored, message: Message) -> Sequence[Change]:
        letter = {
            "message_id": envelope.stream_id,
            "app_id": message.created.app_id,
            "conversation_id": message.created.conversation_id,
            "generator": message.created.generator,
            "error_code": body.code,
            "position": envelope.position,
            "is_open": True,
        }
        ended = self._message_ended(envelope, "errored", message, None, error_code=body.code)
        return (*ended, Insert("dead_letters", letter))

    def _feedback_given(self, envelope: Envelope, body: FeedbackGiven, message: Message) -> Sequence[Change]:
        message_id, created = envelope.stream_id, message.created
        key = {"message_id": message_id, "source": body.source}
        values = {
            "rating": body.rating,
            "content": self._sealing.seal(envelope, FeedbackContent(body.content), message_id, body.source),
            "updated_at": envelope.recorded_at,
        }
        row = (
            key
            | values
            | {
                "feedback_id": envelope.event_id,
                "app_id": created.app_id,
                "conversation_id": created.conversation_id,
                "end_user_id": created.end_user_id if body.source == "user" else None,
                "key_id": envelope.key_id,
                "position": envelope.position,
                "created_at": envelope.recorded_at,
            }
        )
        standing = key | {"withdrawn_position": 0}
        rating = standing | {"app_id": created.app_id, "position": envelope.position}
        return (Upsert("feedbacks", key, row, values), Upsert("ratings", standing, rating, {}))


def _feedback_withdrawn(envelope: Envelope, body: FeedbackWithdrawn) -> Sequence[Change]:
    key = {"message_id": envelope.stream_id, "source": body.source}
    withdrawn = {"withdrawn_position": envelope.position}
    return (Delete("feedbacks", key), Update("ratings", key | {"withdrawn_position": 0}, withdrawn))


def _later(envelope: Envelope, message: Message) -> Change:
    row = {
        "position": envelope.position,
        "conversation_id": message.created.conversation_id,
        "message_id": envelope.stream_id,
        "version": envelope.version,
    }
    return Insert("later_events", row)


def _references(files: Sequence[AttachedFile], conversation_id: UUID) -> Sequence[Change]:
    return files_shown([file.upload_file_id for file in files if file.upload_file_id is not None], conversation_id)


def _replays(created: MessageCreated) -> Sequence[Change]:
    if created.replayed_from is None:
        return ()
    return (Update("dead_letters", {"message_id": created.replayed_from}, {"is_open": False}),)


def _message(envelope: Envelope, values: dict[str, Any]) -> Change:
    return Update("messages", {"message_id": envelope.stream_id}, values)
