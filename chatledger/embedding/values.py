"""What the methods give, where the use cases have no value of their own for it."""

from typing import Generic, TypeAlias, TypeVar
from uuid import UUID

import msgspec

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
    """A committed message, whose answer is on its way."""

    message_id: UUID
    task_id: UUID
    conversation_id: UUID


class Slice(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list, and whether more follows."""

    items: tuple[T, ...]
    has_more: bool
