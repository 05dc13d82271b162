"""Value objects that several aggregates share."""

from typing import Any, Literal
from uuid import UUID

import msgspec

AppMode = Literal["chat", "agent-chat", "completion"]
"""What kind of application an app is; decides which routes serve it."""

Rating = Literal["like", "dislike"]
FeedbackSource = Literal["user", "admin"]
Scope = Literal["operate", "audit", "erase"]
EndUserKind = Literal["service-api", "browser"]

TaskState = Literal["queued", "running", "retrying", "stopping", "completed", "stopped", "errored"]
TERMINAL_STATES: frozenset[TaskState] = frozenset(("completed", "stopped", "errored"))

StoppedBy = Literal["user", "timeout", "moderation", "interruption", "disconnect", "erasure"]
"""Who or what ended an answer; an interruption is a later message that came with ``on_busy`` of ``interrupt``."""

ErasureCause = Literal["erasure", "retention"]
"""Why content was made unreadable: its person was erased, or its app keeps nothing that old."""

DisabledFor = Literal["operator", "gone", "failing", "dead_letters"]
"""Why nothing is sent to an endpoint: somebody said so; it said that it is gone; it fails for long, or often."""

ReadSubject = Literal["message", "conversation", "end_user", "app", "ledger"]
"""What an operator read of other people's."""

OnBusy = Literal["allow", "reject", "queue", "interrupt"]
"""What becomes of a message to a conversation in which another is unfinished."""
TURN_TAKERS: frozenset[OnBusy] = frozenset(("queue", "interrupt"))
"""Those under which a message waits until all earlier ones have ended."""

OnDisconnect = Literal["continue", "stop"]
"""What becomes of an answer when the connection that asked for it is gone."""

AttemptBase = Literal["reset", "continue"]
RenamedBy = Literal["user", "automatic"]
AppStatus = Literal["normal", "disabled", "deleted"]
ModerationStage = Literal["input", "output"]
ModerationAction = Literal["direct_output", "overridden"]
"""What a hit leads to: a preset answer, or the same text without what was found."""

FileKind = Literal["image", "document", "audio", "video", "custom"]
TransferMethod = Literal["remote_url", "local_file", "tool_file"]
BelongsTo = Literal["user", "assistant"]

VariableType = Literal[
    "string",
    "number",
    "object",
    "secret",
    "file",
    "boolean",
    "array[any]",
    "array[string]",
    "array[number]",
    "array[object]",
    "array[file]",
    "array[boolean]",
]

FinishReason = Literal["stop", "length", "content_filter", "other"]

ErrorCode = Literal[
    "invalid_param",
    "provider_not_initialize",
    "provider_quota_exceeded",
    "completion_request_error",
    "internal_server_error",
]

RequeueCause = Literal[ErrorCode, "handed_over"]
"""Why an attempt gave way to a later one: a failure, or a worker that was told to go, which is none."""

NIL_UUID = UUID(int=0)
"""The parent of a message whose conversation is a line, not a tree."""

Json = Any
"""A JSON value as a person or a program supplied it."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer cost. Prices are decimal strings in ``currency``; times are seconds."""

    prompt_tokens: int = 0
    prompt_unit_price: str = "0"
    prompt_price_unit: str = "0"
    prompt_price: str = "0"
    completion_tokens: int = 0
    completion_unit_price: str = "0"
    completion_price_unit: str = "0"
    completion_price: str = "0"
    total_tokens: int = 0
    total_price: str = "0"
    currency: str = "USD"
    latency: float = 0.0
    time_to_first_token: float | None = None
    time_to_generate: float | None = None


class Resource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A passage that an answer rests on, with where it was found."""

    position: int
    dataset_id: str | None = None
    dataset_name: str | None = None
    document_id: str | None = None
    document_name: str | None = None
    data_source_type: str | None = None
    segment_id: str | None = None
    retriever_from: str | None = None
    score: float | None = None
    hit_count: int | None = None
    word_count: int | None = None
    segment_position: int | None = None
    index_node_hash: str | None = None
    content: str | None = None
    page: int | None = None
    doc_metadata: dict[str, Json] | None = None
    title: str | None = None
    files: tuple[dict[str, Json], ...] | None = None
    summary: str | None = None


class Account(msgspec.Struct, frozen=True):
    """Who stands behind an annotation, as clients show it."""

    id: UUID
    name: str


class AttachedFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file that belongs to a message.

    Attributes:
        file_id: of this attachment, within its message.
        upload_file_id: of the stored file; None for one that stays where its ``url`` points to.
        size: in bytes, where it is known.
        variable: the input that it is the value of; None for one that was sent beside the inputs.
        detail: how closely a model is to look at a picture.
    """

    file_id: UUID
    kind: FileKind
    transfer_method: TransferMethod
    belongs_to: BelongsTo
    name: str = ""
    mime_type: str | None = None
    size: int | None = None
    url: str | None = None
    upload_file_id: UUID | None = None
    variable: str | None = None
    detail: Literal["low", "high"] | None = None


class Thought(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step of an agent as far as it has come.

    Attributes:
        position: counts the steps of an attempt from 1.
        tool: the names of the tools that were called, joined by ``;``.
        tool_input: JSON, from each tool's name to its arguments; ``observation`` likewise to its result.
        tool_labels: from each tool's name to its name in each language.
        files: the attachments that its tools made.
    """

    thought_id: UUID
    position: int
    thought: str = ""
    tool: str = ""
    tool_labels: dict[str, dict[str, str]] = {}
    tool_input: str = ""
    observation: str = ""
    files: tuple[UUID, ...] = ()


class Feedback(msgspec.Struct, frozen=True):
    """One party's rating of one message."""

    rating: Rating
    content: str | None
