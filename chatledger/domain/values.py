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

StoppedBy = Literal["user", "timeout"]
AttemptBase = Literal["reset", "continue"]
FinishReason = Literal["stop", "length", "content_filter", "other"]

ErrorCode = Literal[
    "invalid_param",
    "provider_not_initialize",
    "provider_quota_exceeded",
    "completion_request_error",
    "internal_server_error",
]

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
    score: float | None = None
    word_count: int | None = None
    segment_position: int | None = None
    content: str | None = None
    title: str | None = None


class Feedback(msgspec.Struct, frozen=True):
    """One party's rating of one message."""

    rating: Rating
    content: str | None
