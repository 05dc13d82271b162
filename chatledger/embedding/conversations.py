"""Conversations: what a person's messages belong to."""

from uuid import UUID

from chatledger.application.accepting import DEFAULT_PAGE, accept_id
from chatledger.application.caller import require_chat
from chatledger.application.ports.views import ConversationOrder, ConversationView, Page
from chatledger.embedding.access import Access
from chatledger.embedding.values import Slice


class Conversations:
    """``ledger.conversations``."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def list(
        self,
        app: UUID,
        *,
        user: str | None = None,
        sort_by: ConversationOrder = "-updated_at",
        last_id: UUID | None = None,
        limit: int = DEFAULT_PAGE,
    ) -> Slice[ConversationView]:
        """A person's conversations; without a user those of the one person whom all such calls share.

        Args:
            app: where.
            user: whose.
            sort_by: ``-`` puts the newest first.
            last_id: the last conversation of the part before: those after it.
            limit: how many at most, up to 100.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the app, or the conversation to go on from, does not exist, or is not the user's.
            InvalidParameterError: there is no such order, or a page is not that long.
        """
        with self._access.use() as application:
            caller = await self._access.caller(app, user)
            require_chat(caller.app)
            page = Page(limit, None if last_id is None else accept_id("last_id", last_id))
            found, has_more = await application.history.conversations(caller, sort_by, page)
            return Slice(tuple(found), has_more)

    async def pin(self, app: UUID, conversation_id: UUID, *, user: str) -> None:
        """Put a conversation above the user's others. Doing so again changes nothing.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the conversation does not exist, or is not the user's.
        """
        with self._access.use() as application:
            caller = await self._access.person(app, user)
            require_chat(caller.app)
            await application.pinning.pin(caller, accept_id("conversation_id", conversation_id))

    async def unpin(self, app: UUID, conversation_id: UUID, *, user: str) -> None:
        """Put a conversation back among the user's others. Doing so again changes nothing.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the conversation does not exist, or is not the user's.
        """
        with self._access.use() as application:
            caller = await self._access.person(app, user)
            require_chat(caller.app)
            await application.pinning.unpin(caller, accept_id("conversation_id", conversation_id))
