"""What a caller sends, and what becomes of it."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.queries.following import Follower
from chatledger.domain.events import MessageCreated
from chatledger.domain.values import NIL_UUID, OnBusy, OnDisconnect, TaskState


class Repetition(msgspec.Struct, frozen=True, kw_only=True):
    """That a message asks for another answer to what was asked before.

    Attributes:
        event_id: of the event that it is a reaction to: the one that says what was asked, or the one that it failed by.
        original: what was asked.
        parameters: what the generator is to answer with this time.
        owner_id: whose the original is, and so the new message.
        replays: the failed message whose place it takes.
        force: whether it is sent even if another one takes that place.
    """

    event_id: UUID
    original: MessageCreated
    parameters: dict[str, Any]
    owner_id: UUID
    replays: UUID | None = None
    force: bool = False


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller sends.

    Attributes:
        files: references to what goes with it: each a :class:`FileReference`, or an object with the same fields.
        conversation_id: the conversation to go on with; None begins one.
        parent_id: the message to go on from; the nil id stands for whatever comes before in time, None begins a branch.
        automatic_name: whether a new conversation gets a name by itself: a model's, or a line of its first question.
        repetition: of what, if it is one; inputs and query are then the original's.
        idempotency_key: what the client calls this very request, so that sending it again is no other one.
        on_busy: what becomes of it where another message of the conversation is unfinished; None for the app's wish.
        on_disconnect: what becomes of its answer when nobody is connected to wait for it.
    """

    query: str
    inputs: Mapping[str, Any]
    files: Sequence[object] = ()
    conversation_id: UUID | None = None
    parent_id: UUID | None = NIL_UUID
    automatic_name: bool = True
    repetition: Repetition | None = None
    idempotency_key: str | None = None
    on_busy: OnBusy | None = None
    on_disconnect: OnDisconnect = "continue"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A committed message, and the follower that saw it come.

    Attributes:
        known: its first events, for the follower to begin with; none where it joined a message that was there before.
        state: of its task.
        is_repeat: whether the message is the one that came with the same idempotency key before.
    """

    message_id: UUID
    task_id: UUID
    conversation_id: UUID
    created: Envelope
    follower: Follower
    known: Sequence[Envelope] = ()
    state: TaskState = "queued"
    is_repeat: bool = False

    @property
    def is_keyed(self) -> bool:
        """Whether it came with an idempotency key: then it may be sent again."""
        return isinstance(self.created.body, MessageCreated) and self.created.body.idempotency_key is not None
