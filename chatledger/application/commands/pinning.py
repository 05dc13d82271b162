"""Putting conversations above the others, and back."""

from collections.abc import Callable
from uuid import UUID

from chatledger.application.caller import Caller, Ownership
from chatledger.application.errors import NotFoundError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.views import Views
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import ConversationDeletedError


class PinningConversations:
    """The use cases of a person's pinned conversations."""

    def __init__(self, ledger: Ledger, views: Views, ownership: Ownership) -> None:
        self._ledger = ledger
        self._views = views
        self._ownership = ownership

    async def pin(self, caller: Caller, conversation_id: UUID) -> None:
        """Put a conversation above the others. Doing so again changes nothing.

        Raises:
            NotFoundError: the conversation does not exist, or is not the caller's.
        """
        await self._decide(caller, conversation_id, lambda staged: staged.aggregate.pin())

    async def unpin(self, caller: Caller, conversation_id: UUID) -> None:
        """Put a conversation back among the others. Doing so again changes nothing.

        Raises:
            NotFoundError: the conversation does not exist, or is not the caller's.
        """
        await self._decide(caller, conversation_id, lambda staged: staged.aggregate.unpin())

    async def _decide(
        self, caller: Caller, conversation_id: UUID, command: Callable[[Staged[Conversation]], None]
    ) -> None:
        place = await self._views.conversation_place(conversation_id)
        if place is None:
            raise NotFoundError("conversation")
        app_id, owner_id = place
        await self._ownership.require(caller, "conversation", app_id, owner_id)
        try:
            await self._ledger.decide(Conversation, conversation_id, command, caller.context_of_change(owner_id))
        except ConversationDeletedError as error:
            raise NotFoundError("conversation") from error
