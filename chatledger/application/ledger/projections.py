"""The inline read models: what each event changes in them, in the event's own transaction."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from chatledger.application.ledger.envelope import Envelope, day_of, to_microseconds
from chatledger.application.ledger.sealed_rows import (
    AnnotationContent,
    Answer,
    AppConfigurationContent,
    AppName,
    ConversationContent,
    ConversationName,
    EndUserContent,
    FeedbackContent,
    FileContent,
    Question,
    RowSeals,
    Suggestions,
    VariableContent,
)
from chatledger.application.ports.storage import Change, Delete, Increase, Insert, Update, Upsert
from chatledger.domain.events import (
    AgentThoughtRecorded,
    AnnotationAdded,
    AnnotationChanged,
    AnnotationMatched,
    AnnotationRemoved,
    AnswerChunkAppended,
    AnswerReplaced,
    ApiKeyIssued,
    ApiKeyRevoked,
    AppConfigured,
    AppCreated,
    AppDeleted,
    AppDisabled,
    AppEnabled,
    ConversationDeleted,
    ConversationPinned,
    ConversationRenamed,
    ConversationStarted,
    ConversationUnpinned,
    ConversationVariableSet,
    EndUserSeen,
    FeedbackGiven,
    FeedbackWithdrawn,
    FileAttached,
    FileUploaded,
    GenerationRequeued,
    GenerationStarted,
    MessageCompleted,
    MessageCreated,
    MessageErrored,
    MessageSaved,
    MessageStopped,
    MessageUnsaved,
    ModerationHit,
    OperatorTokenIssued,
    OperatorTokenRevoked,
    ResourcesRetrieved,
    SiteCodeIssued,
    StopRequested,
    SuggestedQuestionsProposed,
)
from chatledger.domain.message import Message
from chatledger.domain.values import NIL_UUID, TURN_TAKERS, AttachedFile, TaskState, Usage

READ_MODELS_VERSION = 1
"""Raised with every change to a projection; a store with another version has to be rebuilt first."""

READ_MODELS = (
    "apps",
    "site_codes",
    "annotations",
    "api_keys",
    "operator_tokens",
    "end_users",
    "conversations",
    "conversation_variables",
    "messages",
    "dead_letters",
    "files",
    "file_references",
    "token_usage",
    "feedbacks",
)
"""The tables that a rebuild empties and fills again."""

_NOTHING: Sequence[Change] = ()


class Projections:
    """From one event to the changes that it makes. Pure, but for sealing."""

    def __init__(self, seals: RowSeals) -> None:
        self._seals = seals

    def changes(  # noqa: PLR0911, PLR0912 - one case for each event type
        self, envelope: Envelope, folded: Callable[[], Message]
    ) -> Sequence[Change]:
        """What an event changes. ``folded`` gives its message as it stood right after it."""
        body, at = envelope.body, envelope.recorded_at
        match body:
            case (
                AnswerChunkAppended()
                | AnswerReplaced()
                | AgentThoughtRecorded()
                | ResourcesRetrieved()
                | ModerationHit()
            ):
                return _NOTHING
            case MessageCreated():
                return self._message_created(envelope, body)
            case GenerationStarted():
                values: dict[str, Any] = {"state": "running", "attempt": body.attempt, "not_before": None}
                if body.attempt == 1:
                    values |= {"started_at": at, "waits": False}
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
                return (self._feedback_given(envelope, body, folded()),)
            case FeedbackWithdrawn():
                return (Delete("feedbacks", {"message_id": envelope.stream_id, "source": body.source}),)
            case FileAttached():
                return _references(() if body.file is None else (body.file,), folded().created.conversation_id)
            case AnnotationMatched():
                return (_message(envelope, {"annotation_id": body.annotation_id}),)
            case SuggestedQuestionsProposed():
                sealed = self._seals.seal(envelope.key_id, Suggestions(body.questions), envelope.stream_id)
                return (_message(envelope, {"suggestions": sealed}),)
            case MessageSaved():
                return (_message(envelope, {"saved_position": envelope.position}),)
            case MessageUnsaved():
                return (_message(envelope, {"saved_position": None}),)
            case ConversationStarted():
                return (self._conversation_started(envelope, body),)
            case ConversationRenamed():
                return (self._conversation_renamed(envelope, body),)
            case ConversationVariableSet():
                return (self._variable_set(envelope, body),)
            case ConversationPinned():
                return (_conversation(envelope, {"is_pinned": True}),)
            case ConversationUnpinned():
                return (_conversation(envelope, {"is_pinned": False}),)
            case ConversationDeleted():
                key = {"conversation_id": envelope.stream_id}
                return (Delete("conversations", key), Delete("conversation_variables", key))
            case FileUploaded():
                return (self._file_uploaded(envelope, body),)
            case EndUserSeen():
                return (self._end_user_seen(envelope, body),)
            case AppCreated():
                return (self._app_created(envelope, body),)
            case AppConfigured():
                return (self._app_configured(envelope, body),)
            case ApiKeyIssued():
                row = {"key_hash": body.key_hash, "key_id": body.key_id, "app_id": envelope.stream_id}
                return (Insert("api_keys", row),)
            case ApiKeyRevoked():
                return (Delete("api_keys", {"key_id": body.key_id}),)
            case SiteCodeIssued():
                return _site_code_issued(envelope, body)
            case AppDisabled():
                return (_app(envelope, {"status": "disabled"}),)
            case AppEnabled():
                return (_app(envelope, {"status": "normal"}),)
            case AppDeleted():
                return (_app(envelope, {"status": "deleted"}),)
            case AnnotationAdded():
                return (self._annotation_added(envelope, body),)
            case AnnotationChanged():
                values = {"content": self._annotation(envelope, body), "updated_at": at}
                return (Update("annotations", {"annotation_id": body.annotation_id}, values),)
            case AnnotationRemoved():
                return (Delete("annotations", {"annotation_id": body.annotation_id}),)
            case OperatorTokenIssued():
                token = {
                    "token_hash": body.token_hash,
                    "operator_id": envelope.stream_id,
                    "scopes": ",".join(body.scopes),
                }
                return (Insert("operator_tokens", token),)
            case OperatorTokenRevoked():
                return (Delete("operator_tokens", {"operator_id": envelope.stream_id}),)

    def _message_created(self, envelope: Envelope, body: MessageCreated) -> Sequence[Change]:
        message_id, position, at = envelope.stream_id, envelope.position, envelope.recorded_at
        question = self._seals.seal(envelope.key_id, Question(body.query, body.inputs, body.files), message_id)
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
            "answer": self._seals.seal(envelope.key_id, answer, envelope.stream_id),
        }
        if usage is None or not usage.total_tokens:
            return (_message(envelope, values),)
        day = {"app_id": message.created.app_id, "day": day_of(envelope.recorded_at)}
        return (_message(envelope, values), Increase("token_usage", day, {"tokens": usage.total_tokens}))

    def _message_errored(self, envelope: Envelope, body: MessageErrored, message: Message) -> Sequence[Change]:
        letter = {
            "message_id": envelope.stream_id,
            "app_id": message.created.app_id,
            "generator": message.created.generator,
            "error_code": body.code,
            "position": envelope.position,
            "is_open": True,
        }
        ended = self._message_ended(envelope, "errored", message, None, error_code=body.code)
        return (*ended, Insert("dead_letters", letter))

    def _feedback_given(self, envelope: Envelope, body: FeedbackGiven, message: Message) -> Change:
        message_id, created = envelope.stream_id, message.created
        key = {"message_id": message_id, "source": body.source}
        values = {
            "rating": body.rating,
            "content": self._seals.seal(envelope.key_id, FeedbackContent(body.content), message_id, body.source),
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
        return Upsert("feedbacks", key, row, values)

    def _conversation_started(self, envelope: Envelope, body: ConversationStarted) -> Change:
        content = ConversationContent(body.inputs, body.introduction)
        row = {
            "conversation_id": envelope.stream_id,
            "app_id": body.app_id,
            "end_user_id": body.end_user_id,
            "hidden": body.hidden,
            "key_id": envelope.key_id,
            "created_at": envelope.recorded_at,
            "created_position": envelope.position,
            "updated_at": envelope.recorded_at,
            "updated_position": envelope.position,
            "is_pinned": False,
            "is_to_be_named": body.automatic_name,
            "name": self._seals.seal(envelope.key_id, ConversationName(body.name), envelope.stream_id),
            "content": self._seals.seal(envelope.key_id, content, envelope.stream_id),
        }
        return Insert("conversations", row)

    def _conversation_renamed(self, envelope: Envelope, body: ConversationRenamed) -> Change:
        name = self._seals.seal(envelope.key_id, ConversationName(body.name), envelope.stream_id)
        values: dict[str, Any] = {"name": name, "is_to_be_named": False}
        if body.by == "user":
            values |= {"updated_at": envelope.recorded_at, "updated_position": envelope.position}
        return _conversation(envelope, values)

    def _variable_set(self, envelope: Envelope, body: ConversationVariableSet) -> Change:
        content = VariableContent(body.name, body.value, body.description)
        values = {
            "content": self._seals.seal(envelope.key_id, content, body.variable_id),
            "updated_at": envelope.recorded_at,
            "updated_position": envelope.position,
        }
        key = {"variable_id": body.variable_id}
        row = (
            key
            | values
            | {
                "conversation_id": envelope.stream_id,
                "key_id": envelope.key_id,
                "value_type": body.value_type,
                "position": envelope.position,
                "created_at": envelope.recorded_at,
            }
        )
        return Upsert("conversation_variables", key, row, values)

    def _file_uploaded(self, envelope: Envelope, body: FileUploaded) -> Change:
        row = {
            "file_id": envelope.stream_id,
            "app_id": body.app_id,
            "end_user_id": body.end_user_id,
            "key_id": envelope.key_id,
            "kind": body.kind,
            "belongs_to": body.belongs_to,
            "mime_type": body.mime_type,
            "size": body.size,
            "created_at": envelope.recorded_at,
            "content": self._seals.seal(envelope.key_id, FileContent(body.name), envelope.stream_id),
        }
        return Insert("files", row)

    def _end_user_seen(self, envelope: Envelope, body: EndUserSeen) -> Change:
        row = {
            "end_user_id": envelope.stream_id,
            "app_id": body.app_id,
            "kind": body.kind,
            "lookup": body.lookup,
            "anonymous": body.anonymous,
            "key_id": envelope.key_id,
            "created_at": envelope.recorded_at,
            "content": self._seals.seal(envelope.key_id, EndUserContent(body.external_id), envelope.stream_id),
        }
        return Insert("end_users", row)

    def _app_created(self, envelope: Envelope, body: AppCreated) -> Change:
        row = {
            "app_id": envelope.stream_id,
            "mode": body.mode,
            "key_id": envelope.key_id,
            "position": envelope.position,
            "created_at": envelope.recorded_at,
            "status": "normal",
            "name": self._seals.seal(envelope.key_id, AppName(body.name), envelope.stream_id),
        }
        return Insert("apps", row)

    def _app_configured(self, envelope: Envelope, body: AppConfigured) -> Change:
        content = self._seals.seal(envelope.key_id, AppConfigurationContent(body.configuration), envelope.stream_id)
        return _app(envelope, {"configuration": content})

    def _annotation_added(self, envelope: Envelope, body: AnnotationAdded) -> Change:
        row = {
            "annotation_id": body.annotation_id,
            "app_id": envelope.stream_id,
            "key_id": envelope.key_id,
            "position": envelope.position,
            "created_at": envelope.recorded_at,
            "updated_at": envelope.recorded_at,
            "content": self._annotation(envelope, body),
        }
        return Insert("annotations", row)

    def _annotation(self, envelope: Envelope, body: AnnotationAdded | AnnotationChanged) -> bytes:
        return self._seals.seal(envelope.key_id, AnnotationContent(body.question, body.answer), body.annotation_id)


def _site_code_issued(envelope: Envelope, body: SiteCodeIssued) -> Sequence[Change]:
    return (
        Insert("site_codes", {"code": body.code, "app_id": envelope.stream_id}),
        _app(envelope, {"site_code": body.code}),
    )


def _references(files: Sequence[AttachedFile], conversation_id: UUID) -> Sequence[Change]:
    """A file may be looked at once a message shows it, and for as long as there is its conversation."""
    rows = [
        {"file_id": file.upload_file_id, "conversation_id": conversation_id}
        for file in files
        if file.upload_file_id is not None
    ]
    return tuple(Upsert("file_references", row, row, {}) for row in rows)


def _replays(created: MessageCreated) -> Sequence[Change]:
    if created.replayed_from is None:
        return _NOTHING
    return (Update("dead_letters", {"message_id": created.replayed_from}, {"is_open": False}),)


def _app(envelope: Envelope, values: dict[str, Any]) -> Change:
    return Update("apps", {"app_id": envelope.stream_id}, values)


def _conversation(envelope: Envelope, values: dict[str, Any]) -> Change:
    return Update("conversations", {"conversation_id": envelope.stream_id}, values)


def _message(envelope: Envelope, values: dict[str, Any]) -> Change:
    return Update("messages", {"message_id": envelope.stream_id}, values)
