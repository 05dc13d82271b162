"""What an access request shows of a person, made of the events themselves."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from chatledger.application.ledger.envelope import Envelope, from_microseconds
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.domain.conversation import Conversation
from chatledger.domain.end_user import EndUser
from chatledger.domain.events import (
    TERMINAL_EVENTS,
    ConversationDeleted,
    ConversationEvent,
    EndUserEvent,
    FeedbackGiven,
    FileUploaded,
    MessageCompleted,
    MessageEvent,
    MessageStopped,
)
from chatledger.domain.message import Message
from chatledger.domain.values import (
    AttachedFile,
    BelongsTo,
    EndUserKind,
    FeedbackSource,
    Json,
    Rating,
    Resource,
    StoppedBy,
    TaskState,
    Thought,
    Usage,
    VariableType,
)


class AccessedPerson(msgspec.Struct, frozen=True, kw_only=True):
    """Who it is. ``user`` is the id that the app gave them."""

    id: UUID
    app_id: UUID
    kind: EndUserKind
    user: str
    is_anonymous: bool
    first_seen_at: datetime


class AccessedVariable(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of a conversation, as it was last set."""

    name: str
    type: VariableType
    value: Json
    description: str


class AccessedFeedback(msgspec.Struct, frozen=True, kw_only=True):
    """A rating of a message: the person's own, or one that was given by whoever runs the app."""

    by: FeedbackSource
    rating: Rating
    content: str | None
    at: datetime


class AccessedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message: what was asked and answered. ``thoughts`` and ``sources`` are what the answer came from."""

    id: UUID
    created_at: datetime
    query: str
    inputs: dict[str, Json]
    files: Sequence[AttachedFile]
    status: TaskState
    answer: str
    answer_files: Sequence[AttachedFile]
    thoughts: Sequence[Thought]
    sources: Sequence[Resource]
    suggested_questions: Sequence[str]
    ended_at: datetime | None
    stopped_by: StoppedBy | None
    error: str | None
    usage: Usage | None
    is_saved: bool
    feedback: Sequence[AccessedFeedback]


class AccessedConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation, without its messages. Of one that was erased by age only the id is left."""

    id: UUID
    status: Literal["normal", "deleted", "erased"]
    created_at: datetime | None = None
    deleted_at: datetime | None = None
    name: str | None = None
    inputs: dict[str, Json] | None = None
    introduction: str | None = None
    is_pinned: bool = False
    variables: Sequence[AccessedVariable] = ()


class AccessedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the person uploaded or that was made for them, without its content; ``size`` is in bytes.

    Of one that was erased by age only the id is left.
    """

    id: UUID
    status: Literal["normal", "erased"] = "normal"
    name: str | None = None
    mime_type: str | None = None
    size: int | None = None
    belongs_to: BelongsTo | None = None
    uploaded_at: datetime | None = None


def person_of(events: Sequence[Envelope]) -> AccessedPerson:
    """The person whose events these are.

    Raises:
        KeyDestroyedError: they are to be erased.
    """
    first = events[0]
    person = EndUser.fold(first.stream_id, [each.body for each in events if isinstance(each.body, EndUserEvent)])
    if person.is_to_be_erased:
        raise KeyDestroyedError(str(person.id))
    seen = person.seen
    return AccessedPerson(
        id=person.id,
        app_id=seen.app_id,
        kind=seen.kind,
        user=seen.external_id,
        is_anonymous=seen.anonymous,
        first_seen_at=from_microseconds(first.recorded_at),
    )


def conversation_of(events: Sequence[Envelope]) -> AccessedConversation:
    """The conversation whose events these are."""
    bodies = [each.body for each in events if isinstance(each.body, ConversationEvent)]
    conversation = Conversation.fold(events[0].stream_id, bodies)
    return AccessedConversation(
        id=conversation.id,
        status="deleted" if conversation.is_deleted else "normal",
        created_at=from_microseconds(events[0].recorded_at),
        deleted_at=_time_of(events, ConversationDeleted),
        name=conversation.name,
        inputs=conversation.started.inputs,
        introduction=conversation.started.introduction,
        is_pinned=conversation.is_pinned,
        variables=[
            AccessedVariable(name=each.name, type=each.value_type, value=each.value, description=each.description)
            for each in conversation.variables.values()
        ],
    )


def message_of(events: Sequence[Envelope]) -> AccessedMessage:
    """The message whose events these are."""
    bodies = [each.body for each in events if isinstance(each.body, MessageEvent)]
    message = Message.fold(events[0].stream_id, bodies)
    ended = next((body for body in bodies if isinstance(body, TERMINAL_EVENTS)), None)
    given = {each.body.source: each for each in events if isinstance(each.body, FeedbackGiven)}
    return AccessedMessage(
        id=message.id,
        created_at=from_microseconds(events[0].recorded_at),
        query=message.created.query,
        inputs=message.created.inputs,
        files=message.created.files,
        status=message.state,
        answer=message.answer,
        answer_files=message.files,
        thoughts=tuple(message.thoughts.values()),
        sources=message.resources,
        suggested_questions=message.suggestions or (),
        ended_at=_time_of(events, TERMINAL_EVENTS),
        stopped_by=ended.by if isinstance(ended, MessageStopped) else None,
        error=message.error.message if message.error else None,
        usage=ended.usage if isinstance(ended, MessageStopped | MessageCompleted) else None,
        is_saved=message.is_saved,
        feedback=[
            AccessedFeedback(
                by=source,
                rating=feedback.rating,
                content=feedback.content,
                at=from_microseconds(given[source].recorded_at),
            )
            for source, feedback in message.feedback.items()
        ],
    )


def file_of(first: Envelope, uploaded: FileUploaded) -> AccessedFile:
    """The file that was uploaded with this event."""
    return AccessedFile(
        id=first.stream_id,
        name=uploaded.name,
        mime_type=uploaded.mime_type,
        size=uploaded.size,
        belongs_to=uploaded.belongs_to,
        uploaded_at=from_microseconds(first.recorded_at),
    )


def _time_of(events: Sequence[Envelope], kind: type | tuple[type, ...]) -> datetime | None:
    times = (from_microseconds(each.recorded_at) for each in events if isinstance(each.body, kind))
    return next(times, None)
