"""What the methods give, where the use cases have no value of their own for it."""

from typing import Generic, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from chatledger.application.accepting import accept_idempotency_key
from chatledger.application.commands.new_message import NewMessage, Sent

T = TypeVar("T")


class Visitor(msgspec.Struct, frozen=True):
    """A visitor of an app's site, in place of a user's name: somebody who came over HTTP, and for whom the host acts.

    Attributes:
        end_user_id: as messages have it.
    """

    end_user_id: UUID


User: TypeAlias = str | Visitor
"""Whom a call speaks for: a person by any name that the host knows them by, or a visitor."""


class SentMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A committed message, whose answer is on its way.

    Attributes:
        is_repeat: whether it was committed before, under the same idempotency key: then it may be answered already.
    """

    message_id: UUID
    task_id: UUID
    conversation_id: UUID
    is_repeat: bool = False


class Slice(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list, and whether more follows."""

    items: tuple[T, ...]
    has_more: bool


def under_key(new: NewMessage, idempotency_key: str | None) -> NewMessage:
    """The message under the key that the host has for it, if any.

    Raises:
        InvalidParameterError: it is no such key.
    """
    if idempotency_key is None:
        return new
    return msgspec.structs.replace(new, idempotency_key=accept_idempotency_key("idempotency_key", idempotency_key))


def taken_in(sent: Sent) -> SentMessage:
    """What the host is told of a message that nobody follows here."""
    sent.follower.close()
    return SentMessage(
        message_id=sent.message_id,
        task_id=sent.task_id,
        conversation_id=sent.conversation_id,
        is_repeat=sent.is_repeat,
    )
