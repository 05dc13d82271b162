"""The events of all aggregates: frozen facts in the past tense, without a base class of their own.

The name under which a type is stored is given in :data:`REGISTRY` and never changes; the type may be renamed freely.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from chatledger.domain.registry import EventRegistry
from chatledger.domain.values import (
    AppMode,
    AttemptBase,
    EndUserKind,
    ErrorCode,
    FeedbackSource,
    FinishReason,
    Json,
    Rating,
    Resource,
    Scope,
    StoppedBy,
    Usage,
)
from chatledger.domain.visibility import Public, Sealed

REGISTRY = EventRegistry()


# A message: a question and its answer.


@REGISTRY.register("MessageCreated")
class MessageCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A person asked.

    ``context_cut`` is the ledger position up to which history is read for the prompt, so that every attempt and every
    audit builds the same one.
    """

    conversation_id: Public[UUID]
    parent_id: Public[UUID]
    app_id: Public[UUID]
    end_user_id: Public[UUID]
    task_id: Public[UUID]
    mode: Public[AppMode]
    generator: Public[str]
    prompt_version: Public[int]
    context_cut: Public[int]
    parameters: Sealed[dict[str, Json]]
    inputs: Sealed[dict[str, Json]]
    query: Sealed[str]


@REGISTRY.register("GenerationStarted")
class GenerationStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A worker opened an attempt. Its number is the fencing token of everything that the attempt appends.

    ``base`` says what the attempt builds on: ``reset`` drops the earlier text, ``continue`` keeps its first ``offset``
    code points.
    """

    attempt: Public[int]
    worker: Public[str]
    base: Public[AttemptBase] = "reset"
    offset: Public[int] = 0


@REGISTRY.register("AnswerChunkAppended")
class AnswerChunkAppended(msgspec.Struct, frozen=True):
    """A piece of the answer was generated."""

    attempt: Public[int]
    text: Sealed[str]


@REGISTRY.register("ResourcesRetrieved")
class ResourcesRetrieved(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt found passages to rest its answer on."""

    attempt: Public[int]
    resources: Sealed[tuple[Resource, ...]]


@REGISTRY.register("GenerationRequeued")
class GenerationRequeued(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt failed in a way that may pass; another may start from ``not_before`` on."""

    attempt: Public[int]
    cause: Public[ErrorCode]
    detail: Sealed[str]
    not_before: Public[datetime]


@REGISTRY.register("StopRequested")
class StopRequested(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asked for the generation to end."""

    by: Public[StoppedBy]


@REGISTRY.register("MessageStopped")
class MessageStopped(msgspec.Struct, frozen=True, kw_only=True):
    """Terminal: the generation was ended from outside. ``offset`` is the length of the kept answer in code points."""

    by: Public[StoppedBy]
    attempt: Public[int]
    offset: Public[int]
    usage: Public[Usage]
    fingerprint: Public[str]


@REGISTRY.register("MessageErrored")
class MessageErrored(msgspec.Struct, frozen=True, kw_only=True):
    """Terminal: the generation failed for good. What had been answered stays."""

    attempt: Public[int]
    code: Public[ErrorCode]
    message: Sealed[str]


@REGISTRY.register("MessageCompleted")
class MessageCompleted(msgspec.Struct, frozen=True, kw_only=True):
    """Terminal: the answer is whole. ``fingerprint`` is a keyed hash of it."""

    attempt: Public[int]
    usage: Public[Usage]
    finish_reason: Public[FinishReason]
    fingerprint: Public[str]


@REGISTRY.register("FeedbackGiven")
class FeedbackGiven(msgspec.Struct, frozen=True, kw_only=True):
    """The end user or an admin rated the message as it stood at ``rated_version``, in ``attempt``."""

    source: Public[FeedbackSource]
    rating: Public[Rating]
    content: Sealed[str | None]
    attempt: Public[int]
    rated_version: Public[int]


@REGISTRY.register("FeedbackWithdrawn")
class FeedbackWithdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """A rating was taken back."""

    source: Public[FeedbackSource]


MessageEvent = (
    MessageCreated
    | GenerationStarted
    | AnswerChunkAppended
    | ResourcesRetrieved
    | GenerationRequeued
    | StopRequested
    | MessageStopped
    | MessageErrored
    | MessageCompleted
    | FeedbackGiven
    | FeedbackWithdrawn
)

TERMINAL_EVENTS = (MessageCompleted, MessageStopped, MessageErrored)
"""A message has exactly one of these, and no generation event after it."""


# A conversation.


@REGISTRY.register("ConversationStarted")
class ConversationStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A person opened a conversation. One that is ``hidden`` carries a single completion and is never listed."""

    app_id: Public[UUID]
    end_user_id: Public[UUID]
    hidden: Public[bool]
    name: Sealed[str]
    inputs: Sealed[dict[str, Json]]
    introduction: Sealed[str]


ConversationEvent = ConversationStarted


# An app.


@REGISTRY.register("AppCreated")
class AppCreated(msgspec.Struct, frozen=True, kw_only=True):
    """An app was set up."""

    mode: Public[AppMode]
    name: Sealed[str]


@REGISTRY.register("AppConfigured")
class AppConfigured(msgspec.Struct, frozen=True, kw_only=True):
    """The app's configuration became this, whole."""

    configuration: Sealed[dict[str, Json]]


@REGISTRY.register("ApiKeyIssued")
class ApiKeyIssued(msgspec.Struct, frozen=True, kw_only=True):
    """A key that opens the app was made; the ledger knows its hash only."""

    key_id: Public[UUID]
    key_hash: Public[str]


@REGISTRY.register("ApiKeyRevoked")
class ApiKeyRevoked(msgspec.Struct, frozen=True, kw_only=True):
    """A key no longer opens the app."""

    key_id: Public[UUID]


AppEvent = AppCreated | AppConfigured | ApiKeyIssued | ApiKeyRevoked


# An end user.


@REGISTRY.register("EndUserSeen")
class EndUserSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A person used an app for the first time. ``lookup`` is a keyed hash of the external id, to find them again."""

    app_id: Public[UUID]
    kind: Public[EndUserKind]
    anonymous: Public[bool]
    lookup: Public[str]
    external_id: Sealed[str]


EndUserEvent = EndUserSeen


# An operator.


@REGISTRY.register("OperatorTokenIssued")
class OperatorTokenIssued(msgspec.Struct, frozen=True, kw_only=True):
    """A token with these scopes was made; the ledger knows its hash only."""

    token_hash: Public[str]
    scopes: Public[tuple[Scope, ...]]
    name: Sealed[str]


@REGISTRY.register("OperatorTokenRevoked")
class OperatorTokenRevoked(msgspec.Struct, frozen=True):
    """The token opens nothing any more."""


OperatorEvent = OperatorTokenIssued | OperatorTokenRevoked

Event = MessageEvent | ConversationEvent | AppEvent | EndUserEvent | OperatorEvent
