"""Naming a conversation by hand, or having a name found for it."""

from collections.abc import Callable
from uuid import UUID

from chatledger.application.accepting import accept_text
from chatledger.application.caller import Caller, Ownership
from chatledger.application.commands.naming import Naming
from chatledger.application.errors import InvalidParameterError, NotFoundError
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.views import ConversationView
from chatledger.application.queries.history import History
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import ConversationDeletedError

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
        return await self._decide(caller, conversation_id, lambda conversation: conversation.rename(name))

    async def name_automatically(self, caller: Caller, conversation_id: UUID) -> ConversationView:
        """Give the conversation a name that is made of its first message.

        Where none is found, or the user names it while it is being found, the name that it has stays.

        Raises:
            NotFoundError: it is not the caller's.
            KeyDestroyedError: it has been erased.
        """
        await self._ownership.require_conversation(caller, conversation_id)
        first = await self._naming.first_message(conversation_id)
        staged = await self._ledger.load(Conversation, conversation_id)
        name = await self._naming.find_name(first)
        if staged is None or name is None:
            return await self._history.conversation(caller, conversation_id)
        asked_at = staged.aggregate.version
        return await self._decide(
            caller, conversation_id, lambda conversation: conversation.take_found_name(name, asked_at)
        )

    async def _decide(
        self, caller: Caller, conversation_id: UUID, command: Callable[[Conversation], None]
    ) -> ConversationView:
        owner_id = await self._ownership.require_conversation(caller, conversation_id)
        context = caller.context_of_change(owner_id)
        try:
            await self._ledger.decide(Conversation, conversation_id, lambda staged: command(staged.aggregate), context)
        except ConversationDeletedError as error:
            raise NotFoundError("conversation") from error
        return await self._history.conversation(caller, conversation_id)
