"""Who is erased or held, and what there is to erase."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from chatledger.application.ports.views import Page

IsGone = Callable[[UUID | None], bool]
"""Whether the key with this id may be destroyed: whoever keeps what it seals in memory lets go of that."""


class Forgetful(Protocol):
    """What keeps content in memory."""

    def forget_erased(self, is_gone: IsGone) -> None:
        """Let go of what is sealed under keys that are gone. What is let go of too much is found on the ledger."""
        ...


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """The erasing of one person. Times are microseconds since the epoch.

    Attributes:
        key_id: of the person's key, which wraps all other keys of theirs.
        erased_position: of the event that says that it is done; None before.
    """

    end_user_id: UUID
    app_id: UUID
    key_id: UUID
    requested_at: int
    requested_position: int
    erased_position: int | None


class Belongings(msgspec.Struct, frozen=True):
    """How much is a person's: deleted conversations and completions count too."""

    conversations: int
    messages: int
    files: int


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A legal hold. The time is in microseconds since the epoch."""

    hold_id: UUID
    end_user_id: UUID
    app_id: UUID
    reason: str
    placed_at: int


class Retention(msgspec.Struct, frozen=True):
    """That conversations of an app are erased once they have rested for so many days."""

    app_id: UUID
    days: int


class Resting(msgspec.Struct, frozen=True):
    """A conversation, or a file that no conversation shows, that nobody has touched since a time in microseconds."""

    id: UUID
    key_id: UUID
    since: int


class Unrecorded(msgspec.Struct, frozen=True):
    """A conversation or a file whose key is destroyed, and which is not on record as erased."""

    id: UUID
    app_id: UUID


class ErasureViews(Protocol):
    """What the processes of erasing read. Every list is bounded."""

    async def erasure(self, end_user_id: UUID) -> Erasure | None:
        """That of one person; None where nobody has asked for it."""
        ...

    async def erasures(self, app_id: UUID | None, page: Page) -> tuple[Sequence[Erasure], bool] | None:
        """A page of all, or of an app's, the last requested first, and whether more follow.

        None if ``page.beyond`` is none of them.
        """
        ...

    async def unfinished_erasures(self, after: int, limit: int) -> list[Erasure]:
        """Those that were requested after a position and are not done, oldest first."""
        ...

    async def belongings(self, end_user_id: UUID) -> Belongings:
        """How much is a person's."""
        ...

    async def unerased(self, end_user_id: UUID) -> int:
        """How many conversations and files of a person are not on record as erased."""
        ...

    async def unended_messages(self, end_user_id: UUID, limit: int) -> list[UUID]:
        """Messages of a person that are being answered, or are to be, oldest first."""
        ...

    async def unerased_conversations(self, end_user_id: UUID, limit: int) -> list[UUID]:
        """Conversations of a person that are not on record as erased: deleted ones and completions too."""
        ...

    async def unerased_files(self, end_user_id: UUID, limit: int) -> list[UUID]:
        """Files of a person that are not on record as erased."""
        ...

    async def hold(self, hold_id: UUID) -> Hold | None:
        """One legal hold that was not released."""
        ...

    async def holds(self, app_id: UUID | None, page: Page) -> tuple[Sequence[Hold], bool] | None:
        """A page of all, or of those of an app's people, the last placed first, and whether more follow.

        None if ``page.beyond`` is none of them.
        """
        ...

    async def retentions(self) -> list[Retention]:
        """Those of all apps that do not keep everything."""
        ...

    async def resting_conversations(
        self, app_id: UUID, before: int, beyond: Resting | None, limit: int
    ) -> list[Resting]:
        """Conversations of an app that nothing has happened in since a time in microseconds, and nothing goes on in.

        None of a person's who is held; deleted ones and completions too; the longest at rest first. They go on from
        the last one of the page before.
        """
        ...

    async def resting_files(self, app_id: UUID, before: int, beyond: Resting | None, limit: int) -> list[Resting]:
        """Files of an app from before a time in microseconds that no conversation shows, oldest first.

        None of a person's who is held. They go on from the last one of the page before.
        """
        ...

    async def messages_of(self, conversation_id: UUID, after: int, limit: int) -> list[tuple[int, UUID]]:
        """Where the messages of a conversation after a position stand, in order, and which they are."""
        ...

    async def unrecorded(self, key_ids: Collection[UUID]) -> tuple[list[Unrecorded], list[Unrecorded]]:
        """The conversations, and the files, of destroyed keys that are not on record as erased."""
        ...
