"""Messages that ended as errored, as operators look them over."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from chatledger.application.ports.views import Page
from chatledger.domain.values import AppMode, ErrorCode


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that ended as errored. Times are microseconds since the epoch.

    Attributes:
        attempts: how many were made in all: those that crashes and shutdowns cut short too.
        replays: the messages that ask the same again in its place, oldest first. It is open while there are none, and
            it is not erased.
    """

    message_id: UUID
    task_id: UUID
    conversation_id: UUID
    app_id: UUID
    end_user_id: UUID
    mode: AppMode
    generator: str
    code: ErrorCode
    attempts: int
    created_at: int
    ended_at: int
    replays: tuple[UUID, ...]
    is_erased: bool = False


class WantedLetters(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are looked for; None is all the same.

    Attributes:
        is_open: whether nothing has been asked in their place yet.
    """

    app_id: UUID | None = None
    code: ErrorCode | None = None
    is_open: bool | None = None


class DeadLetterViews(Protocol):
    """The dead letters of all apps."""

    async def dead_letter(self, message_id: UUID) -> DeadLetter | None:
        """One of them."""
        ...

    async def dead_letters(self, wanted: WantedLetters, page: Page) -> tuple[Sequence[DeadLetter], bool] | None:
        """A page of them, the last that ended first, and whether more follow; None if ``page.beyond`` is none."""
        ...
