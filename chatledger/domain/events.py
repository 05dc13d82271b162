"""The events of all aggregates: frozen facts in the past tense, without a base class of their own.

The name under which a type is stored is given in :data:`REGISTRY` and never changes; the type may be renamed freely.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from chatledger.domain.registry import EventRegistry
from chatledger.domain.values import (
    Account,
    AppMode,
    AttachedFile,
    AttemptBase,
    BelongsTo,
    DisabledFor,
    EndUserKind,
    ErasureCause,
    ErrorCode,
    FeedbackSource,
    FileKind,
    FinishReason,
    Json,
    ModerationAction,
    ModerationStage,
    OnBusy,
    OnDisconnect,
    Rating,
    ReadSubject,
    RenamedBy,
    RequeueCause,
    Resource,
    Scope,
    StoppedBy,
    Usage,
    VariableType,
)
from chatledger.domain.visibility import Public, Sealed

REGISTRY = EventRegistry()


# A message: a question and its answer.


@REGISTRY.register("MessageCreated")
class MessageCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A person asked.

    ``context_cut`` is the ledger position up to which history is read for the prompt, so that every attempt and every
    audit builds the same one; ``context_tokens`` bounds what of it goes in, by estimate, and 0 is no bound. A
    ``parent_id`` of None begins a branch; the nil id stands for whatever came before in time. ``fingerprint`` is a
    keyed hash of the request, where equal requests are to be found, and ``idempotency_key`` one of the key that it came
    with. ``replayed_from`` is the failed message that this one asks again for.
    """

    conversation_id: Public[UUID]
    parent_id: Public[UUID | None]
    app_id: Public[UUID]
    end_user_id: Public[UUID]
    task_id: Public[UUID]
    mode: Public[AppMode]
    generator: Public[str]
    prompt_version: Public[int]
    context_cut: Public[int]
    context_tokens: Public[int] = 0
    fingerprint: Public[str | None] = None
    idempotency_key: Public[str | None] = None
    on_busy: Public[OnBusy] = "allow"
    on_disconnect: Public[OnDisconnect] = "continue"
    replayed_from: Public[UUID | None] = None
    parameters: Sealed[dict[str, Json]]
    inputs: Sealed[dict[str, Json]]
    query: Sealed[str]
    files: Sealed[tuple[AttachedFile, ...]] = ()


@REGISTRY.register("GenerationStarted")
class GenerationStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A worker opened an attempt. Its number is the fencing token of everything that the attempt appends.

    ``base`` says what the attempt builds on: ``reset`` drops the earlier text once there is other text, ``continue``
    keeps its first ``offset`` code points. ``context_cut`` takes the place of the message's own, where that had to wait
    for its turn.
    """

    attempt: Public[int]
    worker: Public[str]
    base: Public[AttemptBase] = "reset"
    offset: Public[int] = 0
    context_cut: Public[int | None] = None


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


@REGISTRY.register("AnswerReplaced")
class AnswerReplaced(msgspec.Struct, frozen=True, kw_only=True):
    """What the attempt had answered gave way to another text, whole."""

    attempt: Public[int]
    reason: Public[str]
    text: Sealed[str]


@REGISTRY.register("AgentThoughtRecorded")
class AgentThoughtRecorded(msgspec.Struct, frozen=True, kw_only=True):
    """A step of an agent came this far. The same step is recorded again as it goes on."""

    attempt: Public[int]
    thought_id: Public[UUID]
    position: Public[int]
    files: Public[tuple[UUID, ...]] = ()
    thought: Sealed[str] = ""
    tool: Sealed[str] = ""
    tool_labels: Sealed[dict[str, dict[str, str]]] = {}
    tool_input: Sealed[str] = ""
    observation: Sealed[str] = ""


@REGISTRY.register("FileAttached")
class FileAttached(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of the attempt made a file for the answer. None stands for one that was erased."""

    attempt: Public[int]
    file: Sealed[AttachedFile | None]


@REGISTRY.register("ModerationHit")
class ModerationHit(msgspec.Struct, frozen=True, kw_only=True):
    """The question or the answer holds what may not be said.

    ``query`` is what is asked in the query's place, where a question is overridden.
    """

    attempt: Public[int]
    stage: Public[ModerationStage]
    action: Public[ModerationAction]
    query: Sealed[str | None] = None


@REGISTRY.register("AnnotationMatched")
class AnnotationMatched(msgspec.Struct, frozen=True, kw_only=True):
    """The question is one that an annotation answers. ``score`` is their likeness, 1 for equal ones."""

    attempt: Public[int]
    annotation_id: Public[UUID]
    score: Public[float]
    account: Sealed[Account | None]


@REGISTRY.register("GenerationRequeued")
class GenerationRequeued(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt failed in a way that may pass, or its worker had to go; another may start from ``not_before`` on."""

    attempt: Public[int]
    cause: Public[RequeueCause]
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


@REGISTRY.register("SuggestedQuestionsProposed")
class SuggestedQuestionsProposed(msgspec.Struct, frozen=True):
    """A model thought of questions to ask next."""

    questions: Sealed[tuple[str, ...]]


@REGISTRY.register("MessageSaved")
class MessageSaved(msgspec.Struct, frozen=True):
    """The end user keeps the message at hand."""


@REGISTRY.register("MessageUnsaved")
class MessageUnsaved(msgspec.Struct, frozen=True):
    """The end user no longer keeps it."""


MessageEvent = (
    MessageCreated
    | GenerationStarted
    | AnswerChunkAppended
    | AnswerReplaced
    | AgentThoughtRecorded
    | FileAttached
    | ModerationHit
    | AnnotationMatched
    | ResourcesRetrieved
    | GenerationRequeued
    | StopRequested
    | MessageStopped
    | MessageErrored
    | MessageCompleted
    | FeedbackGiven
    | FeedbackWithdrawn
    | SuggestedQuestionsProposed
    | MessageSaved
    | MessageUnsaved
)

TERMINAL_EVENTS = (MessageCompleted, MessageStopped, MessageErrored)
"""A message has exactly one of these, and no generation event after it."""

HOLDS_AFTER_TEXT = (StopRequested,)
"""What is decided on a message and holds all the same after further :class:`AnswerChunkAppended` events."""


# A conversation.


@REGISTRY.register("ConversationStarted")
class ConversationStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A person opened a conversation. One that is ``hidden`` carries a single completion and is never listed.

    ``automatic_name`` says whether a model is to find a better name than the first one.
    """

    app_id: Public[UUID]
    end_user_id: Public[UUID]
    hidden: Public[bool]
    automatic_name: Public[bool] = False
    name: Sealed[str]
    inputs: Sealed[dict[str, Json]]
    introduction: Sealed[str]


@REGISTRY.register("ConversationRenamed")
class ConversationRenamed(msgspec.Struct, frozen=True, kw_only=True):
    """The conversation got another name. ``end_user_id`` is whose it is, as with its start."""

    by: Public[RenamedBy]
    end_user_id: Public[UUID]
    name: Sealed[str]


@REGISTRY.register("ConversationVariableSet")
class ConversationVariableSet(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of the conversation came to be, or changed."""

    variable_id: Public[UUID]
    value_type: Public[VariableType]
    name: Sealed[str]
    value: Sealed[Json]
    description: Sealed[str]


@REGISTRY.register("ConversationPinned")
class ConversationPinned(msgspec.Struct, frozen=True):
    """The end user put it above the others."""


@REGISTRY.register("ConversationUnpinned")
class ConversationUnpinned(msgspec.Struct, frozen=True):
    """The end user put it back among the others."""


@REGISTRY.register("ConversationDeleted")
class ConversationDeleted(msgspec.Struct, frozen=True):
    """It is gone for everybody who uses the app; the ledger keeps what was said."""


@REGISTRY.register("ConversationErased")
class ConversationErased(msgspec.Struct, frozen=True, kw_only=True):
    """What was said in it, and its name, are for nobody any more: its data key is destroyed."""

    cause: Public[ErasureCause]


ConversationEvent = (
    ConversationStarted
    | ConversationRenamed
    | ConversationVariableSet
    | ConversationPinned
    | ConversationUnpinned
    | ConversationDeleted
    | ConversationErased
)


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


@REGISTRY.register("SiteCodeIssued")
class SiteCodeIssued(msgspec.Struct, frozen=True):
    """The app's site answers under this code, and under no earlier one."""

    code: Public[str]


@REGISTRY.register("AppDisabled")
class AppDisabled(msgspec.Struct, frozen=True):
    """The app answers nobody until it is enabled."""


@REGISTRY.register("AppEnabled")
class AppEnabled(msgspec.Struct, frozen=True):
    """The app answers again."""


@REGISTRY.register("AppDeleted")
class AppDeleted(msgspec.Struct, frozen=True):
    """The app is gone for good; the ledger keeps what was said."""


@REGISTRY.register("AnnotationAdded")
class AnnotationAdded(msgspec.Struct, frozen=True, kw_only=True):
    """Questions like this one are to be answered so, without asking a generator."""

    annotation_id: Public[UUID]
    question: Sealed[str]
    answer: Sealed[str]


@REGISTRY.register("AnnotationChanged")
class AnnotationChanged(msgspec.Struct, frozen=True, kw_only=True):
    """An annotation has another question or answer."""

    annotation_id: Public[UUID]
    question: Sealed[str]
    answer: Sealed[str]


@REGISTRY.register("AnnotationRemoved")
class AnnotationRemoved(msgspec.Struct, frozen=True):
    """An annotation answers nothing any more."""

    annotation_id: Public[UUID]


@REGISTRY.register("RetentionSet")
class RetentionSet(msgspec.Struct, frozen=True, kw_only=True):
    """Conversations of the app are erased once they have rested for so many days; None keeps them."""

    days: Public[int | None]


AppEvent = (
    AppCreated
    | AppConfigured
    | ApiKeyIssued
    | ApiKeyRevoked
    | SiteCodeIssued
    | AppDisabled
    | AppEnabled
    | AppDeleted
    | AnnotationAdded
    | AnnotationChanged
    | AnnotationRemoved
    | RetentionSet
)


# An end user.


@REGISTRY.register("EndUserSeen")
class EndUserSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A person used an app for the first time. ``lookup`` is a keyed hash of the external id, to find them again.

    It is sealed all the same: after an erasure it could confirm a guess.
    """

    app_id: Public[UUID]
    kind: Public[EndUserKind]
    anonymous: Public[bool]
    lookup: Sealed[str]
    external_id: Sealed[str]


@REGISTRY.register("LegalHoldPlaced")
class LegalHoldPlaced(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing of the person's may be erased until the hold is released."""

    hold_id: Public[UUID]
    reason: Sealed[str]


@REGISTRY.register("LegalHoldReleased")
class LegalHoldReleased(msgspec.Struct, frozen=True, kw_only=True):
    """A hold ended."""

    hold_id: Public[UUID]


@REGISTRY.register("ErasureRequested")
class ErasureRequested(msgspec.Struct, frozen=True, kw_only=True):
    """The person is to be erased. Whoever comes with their external id from here on is a new person."""

    app_id: Public[UUID]


@REGISTRY.register("EndUserErased")
class EndUserErased(msgspec.Struct, frozen=True, kw_only=True):
    """Whatever was sealed for the person is for nobody any more: the counts are of what was theirs."""

    conversations: Public[int]
    files: Public[int]


@REGISTRY.register("EndUserKeyRotated")
class EndUserKeyRotated(msgspec.Struct, frozen=True):
    """So many keys, of the person's conversations and files, are wrapped by a new secret. What they seal stays."""

    keys: Public[int]


EndUserEvent = EndUserSeen | LegalHoldPlaced | LegalHoldReleased | ErasureRequested | EndUserErased | EndUserKeyRotated


# A file.


@REGISTRY.register("FileUploaded")
class FileUploaded(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes were stored: a person's, or what a tool made for the assistant. ``size`` is in bytes."""

    app_id: Public[UUID]
    end_user_id: Public[UUID]
    kind: Public[FileKind]
    belongs_to: Public[BelongsTo]
    size: Public[int]
    mime_type: Public[str]
    name: Sealed[str]


@REGISTRY.register("FileErased")
class FileErased(msgspec.Struct, frozen=True, kw_only=True):
    """Its name and its bytes are for nobody any more: its data key is destroyed, and the bytes are deleted."""

    cause: Public[ErasureCause]


FileEvent = FileUploaded | FileErased


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


@REGISTRY.register("ContentRead")
class ContentRead(msgspec.Struct, frozen=True, kw_only=True):
    """The operator read what other people wrote or were answered; ``subject_id`` is None for all of the ledger."""

    subject: Public[ReadSubject]
    subject_id: Public[UUID | None]


OperatorEvent = OperatorTokenIssued | OperatorTokenRevoked | ContentRead


# The notary.


@REGISTRY.register("NotaryKeyIntroduced")
class NotaryKeyIntroduced(msgspec.Struct, frozen=True):
    """From here on checkpoints are signed by this key, in the form of C2SP signed-note's verifier keys."""

    verifier_key: Public[str]


NotaryEvent = NotaryKeyIntroduced


# The key store.


@REGISTRY.register("MasterKeyRotated")
class MasterKeyRotated(msgspec.Struct, frozen=True):
    """So many keys, all that no other key wraps, are wrapped by a new master key. The former one opens nothing."""

    keys: Public[int]


KeyStoreEvent = MasterKeyRotated


# A webhook.


@REGISTRY.register("EndpointRegistered")
class EndpointRegistered(msgspec.Struct, frozen=True, kw_only=True):
    """Events after a position are sent to a URL: those of these types, or of any where none is named.

    Of one app, or of all where ``app_id`` is None. What is sent is signed with the secret.
    """

    app_id: Public[UUID | None]
    types: Public[tuple[str, ...]]
    after: Public[int]
    url: Sealed[str]
    secret: Sealed[str]


@REGISTRY.register("EndpointSecretRotated")
class EndpointSecretRotated(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent there is signed with this secret, and until a time with the previous one too."""

    previous_until: Public[datetime]
    secret: Sealed[str]
    previous: Sealed[str]


@REGISTRY.register("EndpointDisabled")
class EndpointDisabled(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is sent there until it is enabled; then it is told of what happened meanwhile."""

    cause: Public[DisabledFor]


@REGISTRY.register("EndpointEnabled")
class EndpointEnabled(msgspec.Struct, frozen=True):
    """It is told again, from where it was left."""


@REGISTRY.register("EndpointRemoved")
class EndpointRemoved(msgspec.Struct, frozen=True):
    """Nothing is sent there any more."""


WebhookEvent = EndpointRegistered | EndpointSecretRotated | EndpointDisabled | EndpointEnabled | EndpointRemoved


Event = (
    MessageEvent
    | ConversationEvent
    | AppEvent
    | EndUserEvent
    | FileEvent
    | OperatorEvent
    | NotaryEvent
    | KeyStoreEvent
    | WebhookEvent
)
