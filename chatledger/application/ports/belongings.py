"""What there is of one person: ids alone, in order; the ledger has the rest."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID


class BelongingsViews(Protocol):
    """Pages of ids; each goes on after the last one of the page before, and the first one after None."""

    async def conversations_of(self, end_user_id: UUID, after: UUID | None, limit: int) -> Sequence[UUID]:
        """A person's conversations, oldest first: deleted ones and those of completions too."""
        ...

    async def messages_in(self, conversation_id: UUID, after: UUID | None, limit: int) -> Sequence[UUID]:
        """The messages of a conversation, oldest first."""
        ...

    async def files_of(self, end_user_id: UUID, after: UUID | None, limit: int) -> Sequence[UUID]:
        """A person's files, uploaded by them or made for them, oldest first."""
        ...
