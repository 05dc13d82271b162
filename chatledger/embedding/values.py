"""What the methods give, where the use cases have no value of their own for it."""

from typing import Generic, TypeVar
from uuid import UUID

import msgspec

T = TypeVar("T")


class SentMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A committed message, whose answer is on its way."""

    message_id: UUID
    task_id: UUID
    conversation_id: UUID


class Slice(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list, and whether more follows."""

    items: tuple[T, ...]
    has_more: bool
