"""What the queries read: one method per question, each page at a price that does not grow with the store."""

from collections.abc import Collection, Sequence
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from chatledger.application.ports.generator import Exchange
from chatledger.application.ports.storage import LAST_POSITION
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.values import (
    Account,
    AppMode,
    AppStatus,
    AttachedFile,
    BelongsTo,
    EndUserKind,
    FeedbackSource,
    FileKind,
    Json,
    OnBusy,
    Rating,
    Resource,
    Scope,
    TaskState,
    Thought,
    Usage,
    VariableType,
)

ConversationOrder = Literal["created_at", "-created_at", "updated_at", "-updated_at"]


class AppView(msgspec.Struct, frozen=True, kw_only=True):
    """An app with its configuration. Times are microseconds since the epoch, here and below.

    Attributes:
        retention_days: how long conversations may rest before they are erased; None for ever.
    """

    app_id: UUID
    mode: AppMode
    name: str
    key_id: UUID
    created_at: int
    status: AppStatus
    site_code: str | None
    configuration: AppConfiguration
    retention_days: int | None = None


class OperatorView(msgspec.Struct, frozen=True):
    """What an operator token opens."""

    operator_id: UUID
    scopes: frozenset[Scope]


class OperatorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """An operator whose token opens something."""

    operator_id: UUID
    name: str
    scopes: frozenset[Scope]
    issued_at: int


class EndUserView(msgspec.Struct, frozen=True):
    """Somebody who is not to be erased, as of a version of their stream."""

    end_user_id: UUID
    key_id: UUID
    version: int


class EndUserDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A person as an app knows them. Visitors are anonymous, and so is the one who is everybody that names nobody."""

    end_user_id: UUID
    app_id: UUID
    kind: EndUserKind
    external_id: str
    is_anonymous: bool
    created_at: int


class ConversationView(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as lists show it. Of one that is erased there is neither name, nor inputs, nor introduction."""

    conversation_id: UUID
    app_id: UUID
    end_user_id: UUID
    name: str
    inputs: dict[str, Json]
    introduction: str
    created_at: int
    updated_at: int
    updated_position: int
    is_pinned: bool
    is_erased: bool = False


class VariableView(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation's variable as it was last set. The positions are those of its first value and of its last."""

    variable_id: UUID
    conversation_id: UUID
    name: str
    value_type: VariableType
    value: Json
    description: str
    position: int
    updated_position: int
    created_at: int
    updated_at: int


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """A message as history shows it. ``answer`` is empty and ``ended_at`` None while it is being generated.

    ``prompt`` is what a model may read of the query; None as long as there is no answer to it, and where it may not be
    asked. ``waits`` is true as long as it waits for its turn, or for a worker after that. Of one that is erased nothing
    is left of what was asked and answered.
    """

    message_id: UUID
    conversation_id: UUID
    app_id: UUID
    end_user_id: UUID
    parent_id: UUID | None
    task_id: UUID
    mode: AppMode
    position: int
    created_at: int
    state: TaskState
    attempt: int
    on_busy: OnBusy
    waits: bool
    started_at: int | None
    ended_at: int | None
    query: str
    prompt: str | None
    inputs: dict[str, Json]
    query_files: tuple[AttachedFile, ...]
    answer: str
    resources: tuple[Resource, ...]
    thoughts: tuple[Thought, ...]
    answer_files: tuple[AttachedFile, ...]
    annotation_id: UUID | None
    annotation_account: Account | None
    usage: Usage | None
    stopped_by: str | None
    error_code: str | None
    error: str | None
    feedback: Rating | None
    feedback_content: str | None
    is_erased: bool = False


class FileView(msgspec.Struct, frozen=True, kw_only=True):
    """A stored file; ``size`` is in bytes. One that is erased has neither name nor content.

    Attributes:
        is_referenced: while a conversation shows it, in a message or a variable.
        was_referenced: once one has shown it, whether or not it is still there.
    """

    file_id: UUID
    app_id: UUID
    end_user_id: UUID
    key_id: UUID
    kind: FileKind
    belongs_to: BelongsTo
    name: str
    mime_type: str
    size: int
    created_at: int
    is_referenced: bool
    was_referenced: bool
    is_erased: bool = False


class FeedbackView(msgspec.Struct, frozen=True, kw_only=True):
    """A rating as an app's list shows it. Of one that is erased there is no content, whether it had any or not."""

    feedback_id: UUID
    app_id: UUID
    conversation_id: UUID
    message_id: UUID
    rating: Rating
    content: str | None
    source: FeedbackSource
    end_user_id: UUID | None
    position: int
    created_at: int
    updated_at: int
    is_erased: bool = False


class Period(msgspec.Struct, frozen=True):
    """From ``start`` on and before ``end``, in microseconds; None is no bound."""

    start: int | None = None
    end: int | None = None


class UnfinishedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A generation that has no terminal event, as recovery sees it."""

    task_id: UUID
    message_id: UUID
    conversation_id: UUID
    mode: AppMode
    state: TaskState
    attempt: int


class Interruption(msgspec.Struct, frozen=True):
    """An unfinished message, running or waiting for its turn, and the later one that it has to make way for."""

    message_id: UUID
    waits: bool
    by: UUID


class KnownRequest(msgspec.Struct, frozen=True):
    """A message that came with an idempotency key, and the fingerprint of what was asked."""

    message_id: UUID
    fingerprint: str | None
    state: TaskState
    is_deleted: bool


class BegunMessage(msgspec.Struct, frozen=True):
    """A message, and the position of its first event."""

    message_id: UUID
    position: int


class LaterEvent(msgspec.Struct, frozen=True):
    """Which event of a message it is."""

    message_id: UUID
    version: int


class MessagePlace(msgspec.Struct, frozen=True):
    """Whose a message is, and which conversation it is in."""

    app_id: UUID
    end_user_id: UUID
    conversation_id: UUID
    mode: AppMode


class ConversationNews(msgspec.Struct, frozen=True):
    """What a conversation has come to after a position, oldest first, as the ledger ended at ``head``.

    Attributes:
        key_id: of the data key that seals the conversation.
    """

    key_id: UUID
    head: int
    begun: Sequence[BegunMessage]


class Page(msgspec.Struct, frozen=True):
    """How many rows, and from where on.

    Attributes:
        beyond: the row that was the last one so far.
        left_at: the ledger position that it stood at then, where that is known and it may have moved.
    """

    limit: int
    beyond: UUID | None = None
    left_at: int | None = None


class Views(Protocol):
    """The read models."""

    async def app(self, app_id: UUID) -> AppView | None:
        """One app."""
        ...

    async def app_of_key(self, key_hash: str) -> UUID | None:
        """The app that a key opens."""
        ...

    async def app_of_site(self, code: str) -> UUID | None:
        """The app whose site has this code, or once had it."""
        ...

    async def apps(self) -> list[AppView]:
        """All apps, oldest first."""
        ...

    async def operator_of_token(self, token_hash: str) -> OperatorView | None:
        """What an operator's token opens."""
        ...

    async def operators(self) -> list[OperatorDetail]:
        """All whose tokens open something, oldest first. They are few."""
        ...

    async def end_user(self, app_id: UUID, kind: EndUserKind, lookup: str) -> EndUserView | None:
        """The person with this keyed hash of an external id."""
        ...

    async def end_user_of_id(self, end_user_id: UUID) -> EndUserView | None:
        """The person of this id; None where they are erased, or about to be."""
        ...

    async def end_user_detail(self, end_user_id: UUID) -> EndUserDetail | None:
        """A person by their own id."""
        ...

    async def is_person_of(self, app_id: UUID, end_user_id: UUID) -> bool:
        """Whether an app has, or had before an erasure, a person of this id."""
        ...

    async def is_erased_person(self, app_id: UUID, end_user_id: UUID) -> bool:
        """Whether this is one of an app's people who is erased, or about to be."""
        ...

    async def conversation_place(self, conversation_id: UUID) -> tuple[UUID, UUID] | None:
        """The app and the end user that a conversation belongs to."""
        ...

    async def conversation(self, conversation_id: UUID) -> ConversationView | None:
        """One conversation that lists show."""
        ...

    async def conversations(
        self, app_id: UUID, end_user_id: UUID, order: ConversationOrder, page: Page, *, pinned: bool | None = None
    ) -> tuple[list[ConversationView], bool] | None:
        """One page of a person's conversations, and whether more follow; None if ``page.beyond`` is not among them.

        ``pinned`` narrows it to those that are, or are not.
        """
        ...

    async def variables(self, conversation_id: UUID) -> list[VariableView]:
        """All variables of a conversation, in the order of their declaration. An app declares them: they are few."""
        ...

    async def variable(self, variable_id: UUID) -> VariableView | None:
        """One variable."""
        ...

    async def unnamed(self, limit: int, begun_before: int | None = None) -> list[UUID]:
        """Conversations that are to get a name by themselves and have none yet, oldest first.

        With a time in microseconds only those that began before it.
        """
        ...

    async def first_message(self, conversation_id: UUID) -> UUID | None:
        """The message that a conversation began with."""
        ...

    async def conversation_news(self, conversation_id: UUID, after: int, limit: int) -> ConversationNews | None:
        """Its messages that began after a position, and where the ledger ends; None where the conversation is gone.

        Raises:
            KeyDestroyedError: the conversation has been erased.
        """
        ...

    async def begun(self, conversation_id: UUID, after: int, limit: int) -> list[BegunMessage]:
        """The messages of a conversation that began after a position, oldest first, whatever became of it."""
        ...

    async def later_events(self, conversation_id: UUID, after: int, limit: int) -> list[LaterEvent]:
        """What happened after a position to messages of a conversation beside their generations, oldest first."""
        ...

    async def under_way(self, conversation_id: UUID, position: int) -> list[UUID]:
        """The messages of a conversation that were begun and not ended at a position, oldest first."""
        ...

    async def suggestions(self, message_id: UUID) -> tuple[str, ...] | None:
        """The questions that a model would ask next after a message, or None where none was asked with success."""
        ...

    async def message(self, message_id: UUID) -> MessageView | None:
        """One message."""
        ...

    async def message_place(self, message_id: UUID) -> MessagePlace | None:
        """Where a message belongs, readable or not."""
        ...

    async def message_of_task(self, task_id: UUID) -> MessageView | None:
        """The message that a task generates."""
        ...

    async def running_request(self, end_user_id: UUID, fingerprint: str) -> UUID | None:
        """The newest message of a person that answers a request with this fingerprint: no ended or stopping one."""
        ...

    async def message_of_key(self, end_user_id: UUID, idempotency_key: str, since: int) -> KnownRequest | None:
        """The newest message of a person, of this time in microseconds or later, that came with this key."""
        ...

    async def tokens_used(self, app_id: UUID, day: int) -> int:
        """What the answers of an app have cost, in tokens, on a day counted from 1970-01-01 in UTC."""
        ...

    async def messages(self, conversation_id: UUID, page: Page) -> tuple[list[MessageView], bool] | None:
        """The latest messages before ``page.beyond``, oldest first, and whether older ones exist.

        None if ``page.beyond`` is not in the conversation.
        """
        ...

    async def saved_messages(self, end_user_id: UUID, page: Page) -> tuple[list[MessageView], bool] | None:
        """A person's saved messages, the last saved first, and whether more follow.

        None if ``page.beyond`` is not among them.
        """
        ...

    async def siblings(self, message: MessageView, up_to: int = LAST_POSITION) -> list[UUID]:
        """The other messages that go on from the same one, or begin the conversation as it does, oldest first.

        ``up_to`` is the position that they were sent by.
        """
        ...

    async def parent(self, message: MessageView) -> UUID | None:
        """The message that this one goes on from; where its parent is the nil id, the one before it in time."""
        ...

    async def file(self, file_id: UUID) -> FileView | None:
        """One stored file."""
        ...

    async def feedbacks(
        self, app_id: UUID, period: Period, limit: int, *, offset: int = 0, beyond: int | None = None
    ) -> list[FeedbackView]:
        """The ratings of an app that were given in a period, newest first; with ``beyond`` those before a position."""
        ...

    async def exchanges(
        self, message_id: UUID, context_cut: int, *, longest: int, tokens: int, most: int | None = None
    ) -> Sequence[Exchange]:
        """The answered messages that a message goes on from, as they were at a ledger position, oldest first.

        Args:
            message_id: of which message; none that came after it counts.
            context_cut: the position.
            longest: how many ancestors are looked at, answered or not.
            tokens: how many the newest may have together, by estimate; 0 is no limit.
            most: how many of the newest are wanted; no others are opened. None is no limit.
        """
        ...

    async def unseen(self, limit: int) -> list[UUID]:
        """Messages of deleted conversations whose answers nobody has asked to end, newest first."""
        ...

    async def interrupted(self, limit: int, conversations: Collection[UUID] | None = None) -> list[Interruption]:
        """Unfinished messages that a later one of their conversation interrupts and nobody has asked to end.

        Oldest first; of all conversations, or of these.
        """
        ...

    async def turn(self, message_id: UUID) -> int | None:
        """Where the ledger ends, if all that came before a message in its conversation has ended; else None."""
        ...

    async def waiting(self, limit: int) -> list[UUID]:
        """Messages that wait for their turn, or are about to begin after it has come, oldest first."""
        ...

    async def next_in_turn(self, message_ids: Collection[UUID]) -> list[UnfinishedTask]:
        """What has waited until now in the conversations of these messages, with all that came before it ended."""
        ...

    async def unfinished(self, message_ids: Collection[UUID]) -> list[UUID]:
        """Those of these messages that have not ended."""
        ...

    async def ahead(self, message_id: UUID) -> int:
        """How many messages that came before one in its conversation are unfinished."""
        ...

    async def unclaimed(self, now: int, limit: int, among: Collection[UUID] | None = None) -> list[UnfinishedTask]:
        """Tasks that are due and that no worker holds a living lease on, at this time in microseconds.

        None among them waits for its turn. With ``among``, those of these messages alone.
        """
        ...

    async def overdue(self, began_before: int, now: int, limit: int) -> list[UUID]:
        """Messages whose generation began before a time, and that no worker holds a living lease on at another one.

        Both times are in microseconds; the oldest come first.
        """
        ...

    async def generation_began(self, message_id: UUID) -> int | None:
        """When the first attempt at a message started, in microseconds; None before that."""
        ...

    async def abandoned_attempt(self, message_id: UUID, now: int) -> int | None:
        """The attempt at an unfinished message that no worker holds a living lease on; None where one does."""
        ...

    async def held_by(self, worker: str) -> list[UnfinishedTask]:
        """Unfinished tasks that this worker holds a lease on."""
        ...
