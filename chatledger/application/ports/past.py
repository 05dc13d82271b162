"""What reading the past needs: where its rows lie, and read models of its own to ask."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

import msgspec

from chatledger.application.ports.storage import Change
from chatledger.application.ports.views import ConversationOrder, Page, Views


class PastConversation(msgspec.Struct, frozen=True):
    """A conversation that there may have been at a position.

    Attributes:
        place: the position that it stood at in its list.
        last_message_id: of its messages the last one by then.
    """

    conversation_id: UUID
    place: int
    last_message_id: UUID


class PastRating(msgspec.Struct, frozen=True):
    """A rating that stood at a position, and where it was first given."""

    message_id: UUID
    position: int


class PastPlaces(Protocol):
    """Where the rows of a page lay at an earlier position, by what the read models of now remember of it."""

    async def messages(self, conversation_id: UUID, page: Page, position: int) -> list[UUID]:
        """The messages of a page of history, one more where there are older ones, and the one that it goes back from.

        Nothing, where that was not in the conversation by then.
        """
        ...

    async def conversations(
        self, end_user_id: UUID, order: ConversationOrder, limit: int, position: int, *, beyond: int | None = None
    ) -> list[PastConversation]:
        """A person's conversations, deleted ones too, in their order by then; with ``beyond`` those after a place."""
        ...

    async def conversation(
        self, end_user_id: UUID, conversation_id: UUID, order: ConversationOrder, position: int
    ) -> PastConversation | None:
        """One of them, or None where the person had no such conversation by then."""
        ...

    async def ratings(
        self, app_id: UUID, position: int, limit: int, *, after: int = 0, up_to: int, offset: int = 0
    ) -> list[PastRating]:
        """The ratings of an app that stood by then, first given between two positions, newest first."""
        ...


class Scratch(Protocol):
    """Read models of their own, empty at first."""

    async def apply(self, changes: Sequence[Change]) -> None:
        """Move them."""
        ...

    def views(self, position: int) -> Views:
        """Their answers, where they stand as at that position. How messages hang together is not asked of them."""
        ...


class Scratches(Protocol):
    """Read models that are filled for one question and emptied for the next."""

    def scratch(self) -> AbstractAsyncContextManager[Scratch]:
        """One that nobody else uses meanwhile. Waits where all are in use."""
        ...

    async def close(self) -> None:
        """Release all of them."""
        ...
