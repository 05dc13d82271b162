"""Deleting a conversation: gone at once for everybody who uses the app, kept on the ledger."""

from uuid import UUID

from chatledger.application.caller import Caller, Ownership
from chatledger.application.errors import NotFoundError
from chatledger.application.ledger.ledger import Ledger
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import ConversationDeletedError


class DeletingConversations:
    """The use case of the delete route."""

    def __init__(self, ledger: Ledger, ownership: Ownership) -> None:
        self._ledger = ledger
        self._ownership = ownership

    async def delete(self, caller: Caller, conversation_id: UUID) -> None:
        """Delete a conversation. What is being answered in it is stopped soon after, in the background.

        Raises:
            NotFoundError: it does not exist, is not the caller's, or is gone already.
        """
        owner_id = await self._ownership.require_conversation(caller, conversation_id)
        context = caller.context_of_change(owner_id)
        try:
            await self._ledger.decide(
                Conversation, conversation_id, lambda staged: staged.aggregate.delete(), context, even_erased=True
            )
        except ConversationDeletedError as error:
            raise NotFoundError("conversation") from error
