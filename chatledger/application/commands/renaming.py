"""Naming a conversation by hand, or having a name found for it."""

from uuid import UUID

from chatledger.application.accepting import accept_text
from chatledger.application.caller import Caller, Ownership
from chatledger.application.commands.naming import Naming
from chatledger.application.errors import InvalidParameterError, NotFoundError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.views import ConversationView
from chatledger.application.queries.history import History
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import ConversationDeletedError
from chatledger.domain.values import RenamedBy

LONGEST_NAME = 255


class RenamingConversations:
    """The use case of the rename route."""

    def __init__(self, ledger: Ledger, ownership: Ownership, naming: Naming, history: History) -> None:
        self._ledger = ledger
        self._ownership = ownership
        self._naming = naming
        self._history = history

    async def rename(self, caller: Caller, conversation_id: UUID, name: str) -> ConversationView:
        """Give the conversation this name.

        Raises:
            NotFoundError: it is not the caller's.
            InvalidParameterError: there is no name, or it is none.
            TooLongError: it is longer than may be.
        """
        name = accept_text("name", name, LONGEST_NAME).strip()
        if not name:
            raise InvalidParameterError("name", "name is required when auto_generate is false")
        return await self._rename(caller, conversation_id, "user", name)

    async def name_automatically(self, caller: Caller, conversation_id: UUID) -> ConversationView:
        """Give the conversation a name that is made of its first message; where none is found the old one stays.

        Raises:
            NotFoundError: it is not the caller's.
        """
        await self._ownership.require_conversation(caller, conversation_id)
        first = await self._naming.first_message(conversation_id)
        name = await self._naming.find_name(first.created)
        if name is None:
            return await self._history.conversation(caller, conversation_id)
        return await self._rename(caller, conversation_id, "automatic", name)

    async def _rename(self, caller: Caller, conversation_id: UUID, by: RenamedBy, name: str) -> ConversationView:
        owner_id = await self._ownership.require_conversation(caller, conversation_id)

        def decide(staged: Staged[Conversation]) -> None:
            staged.aggregate.rename(by, name)

        try:
            await self._ledger.decide(Conversation, conversation_id, decide, caller.context_of_change(owner_id))
        except ConversationDeletedError as error:
            raise NotFoundError("conversation") from error
        return await self._history.conversation(caller, conversation_id)
