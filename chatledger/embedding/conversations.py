"""Conversations: what a person's messages belong to."""

from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID

from chatledger.application.accepting import DEFAULT_PAGE, accept_id, accept_number
from chatledger.application.as_of import AsOf
from chatledger.application.audit.receipt import Receipt
from chatledger.application.caller import Caller, require_chat
from chatledger.application.errors import ClosedError
from chatledger.application.ledger.envelope import Envelope, Fact
from chatledger.application.ports.views import ConversationOrder, ConversationView, Page, VariableView
from chatledger.embedding.access import Access
from chatledger.embedding.values import Slice, User

LARGEST_POSITION = 2**63 - 1


class Conversations:
    """``ledger.conversations``."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def list(
        self,
        app: UUID,
        *,
        user: User | None = None,
        sort_by: ConversationOrder = "-updated_at",
        pinned: bool | None = None,
        last_id: UUID | None = None,
        limit: int = DEFAULT_PAGE,
        as_of: AsOf | None = None,
    ) -> Slice[ConversationView]:
        """A person's conversations; without a user those of the one person whom all such calls share.

        Args:
            app: where.
            user: whose.
            sort_by: ``-`` puts the newest first.
            pinned: only those that are, or are not.
            last_id: the last conversation of the part before: those after it.
            limit: how many at most, up to 100.
            as_of: the position of the ledger, or the time, that the answer is to be of; None for now.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the app, or the conversation to go on from, does not exist, or is not the user's.
            InvalidParameterError: there is no such order, a page is not that long, or ``as_of`` is no moment of the
                past.
        """
        with self._access.use() as application:
            caller = await self._chat(app, user)
            page = Page(limit, None if last_id is None else accept_id("last_id", last_id))
            found, has_more = await application.history.conversations(caller, sort_by, page, pinned=pinned, as_of=as_of)
            return Slice(tuple(found), has_more)

    async def pin(self, app: UUID, conversation_id: UUID, *, user: User) -> None:
        """Put a conversation above the user's others. Doing so again changes nothing.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the conversation does not exist, or is not the user's.
        """
        with self._access.use() as application:
            caller = await self._access.person(app, user)
            require_chat(caller.app)
            await application.pinning.pin(caller, accept_id("conversation_id", conversation_id))

    async def unpin(self, app: UUID, conversation_id: UUID, *, user: User) -> None:
        """Put a conversation back among the user's others. Doing so again changes nothing.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the conversation does not exist, or is not the user's.
        """
        with self._access.use() as application:
            caller = await self._access.person(app, user)
            require_chat(caller.app)
            await application.pinning.unpin(caller, accept_id("conversation_id", conversation_id))

    async def get(self, app: UUID, conversation_id: UUID, *, user: User | None = None) -> ConversationView:
        """One conversation.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the conversation does not exist, is not the user's, or is gone.
        """
        with self._access.use() as application:
            caller = await self._chat(app, user)
            return await application.history.conversation(caller, accept_id("conversation_id", conversation_id))

    async def follow(
        self, conversation_id: UUID, *, after: int = 0, app: UUID | None = None, user: User | None = None
    ) -> AsyncGenerator[Envelope, None]:
        """The events of a conversation's messages after a ledger position, in that order, as they are committed.

        Each says by ``stream_id`` which message it is of. Messages that are sent later follow too; of each there are
        the events up to the one that ends its answer. The iteration goes on until the conversation is deleted.

        Raises:
            NotFoundError: the conversation does not exist, is not the app's or the user's, or is gone.
            InvalidParameterError: the ledger has no such position.
            StorageUnavailableError: the store is in trouble; ``after`` the last position it can be followed on.
            ClosedError: chatledger was closed.
        """
        with self._access.use() as application:
            reader = await self._access.reader(app, user)
            await application.history.require_conversation(reader, accept_id("conversation_id", conversation_id))
            accept_number("after", after, 0, LARGEST_POSITION)
            with application.following.follow_conversation(conversation_id) as follower:
                batches = follower.batches(after)
                async for batch in application.reads.followed(reader, batches, "conversation", conversation_id):
                    for envelope in batch:
                        if envelope.position > after:
                            yield envelope
            if self._access.is_closed and not follower.is_over:
                raise ClosedError

    async def receipt(
        self,
        conversation_id: UUID,
        *,
        with_key: bool = False,
        app: UUID | None = None,
        user: User | None = None,
    ) -> Receipt:
        """A file that proves the events of a conversation to anybody: ``bytes()`` of it, to be kept as they are.

        If the last checkpoint does not cover all of them, one is signed now.

        Args:
            conversation_id: which.
            with_key: whether to give away what opens all that is sealed of the conversation, so that contents are
                proved too; for the host alone.
            app: whose reading it is; None for the host itself.
            user: on whose behalf.

        Raises:
            NotFoundError: the conversation does not exist, or is not the app's or the user's.
            InvalidParameterError: it has too many events, or the key is not to be had.
            LedgerInconsistentError: the ledger is not what was signed.
        """
        with self._access.use() as application:
            reader = await self._access.reader(app, user)
            conversation_id = accept_id("conversation_id", conversation_id)
            return await application.receipts.of_conversation(reader, conversation_id, with_key=with_key)

    async def events(
        self,
        conversation_id: UUID,
        *,
        after: int = 0,
        limit: int = DEFAULT_PAGE,
        app: UUID | None = None,
        user: User | None = None,
    ) -> Slice[Fact]:
        """The recorded events of a conversation and its messages after a ledger position, in the ledger's order.

        Each comes with who did it and why. Without an app, those of a deleted conversation are there too.

        Raises:
            NotFoundError: the conversation does not exist, is not the app's or the user's, or is gone.
            InvalidParameterError: a page is not that long, or ``after`` is no position.
        """
        with self._access.use() as application:
            reader = await self._access.reader(app, user)
            accept_id("conversation_id", conversation_id)
            accept_number("after", after, 0, LARGEST_POSITION)
            found, has_more = await application.facts.of_conversation(reader, conversation_id, after, limit)
            return Slice(tuple(found), has_more)

    async def rename(
        self, app: UUID, conversation_id: UUID, name: str | None = None, *, user: User | None = None
    ) -> ConversationView:
        """Give the conversation a name; None has one found in its first message, if that can be done.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the conversation does not exist, is not the user's, or is gone.
            InvalidParameterError: the name is none.
        """
        with self._access.use() as application:
            caller = await self._chat(app, user)
            accept_id("conversation_id", conversation_id)
            if name is None:
                return await application.renaming.name_automatically(caller, conversation_id)
            return await application.renaming.rename(caller, conversation_id, name)

    async def delete(self, app: UUID, conversation_id: UUID, *, user: User | None = None) -> None:
        """Make the conversation gone for its user. The ledger keeps it; answers under way are stopped soon after.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the conversation does not exist, is not the user's, or is gone already.
        """
        with self._access.use() as application:
            caller = await self._chat(app, user)
            await application.deleting.delete(caller, accept_id("conversation_id", conversation_id))

    async def variables(
        self,
        app: UUID,
        conversation_id: UUID,
        *,
        user: User | None = None,
        name: str | None = None,
        last_id: UUID | None = None,
        limit: int = DEFAULT_PAGE,
    ) -> Slice[VariableView]:
        """The conversation's variables in the order of their declaration, secrets too.

        Args:
            app: where.
            conversation_id: whose.
            user: who asks.
            name: only the one of this name, in any case of its letters.
            last_id: the last variable of the part before: those after it.
            limit: how many at most, up to 100.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the conversation does not exist, is not the user's, or is gone.
            InvalidParameterError: an argument is not acceptable.
        """
        with self._access.use() as application:
            caller = await self._chat(app, user)
            page = Page(limit, None if last_id is None else accept_id("last_id", last_id))
            conversation_id = accept_id("conversation_id", conversation_id)
            found, has_more = await application.history.variables(caller, conversation_id, page, name)
            return Slice(tuple(found), has_more)

    async def set_variable(
        self, app: UUID, conversation_id: UUID, variable_id: UUID, value: Any, *, user: User | None = None
    ) -> VariableView:
        """Give a variable of the conversation another value, which prompts see from the next message on.

        Raises:
            WrongModeError: the app has no conversations.
            NotFoundError: the conversation does not exist, is not the user's, is gone, or has no such variable.
            InvalidParameterError: the value is no JSON.
            TypeMismatchError: it is not of the variable's type.
        """
        with self._access.use() as application:
            caller = await self._chat(app, user)
            conversation_id = accept_id("conversation_id", conversation_id)
            variable_id = accept_id("variable_id", variable_id)
            return await application.setting_variables.set(caller, conversation_id, variable_id, value)

    async def _chat(self, app: UUID, user: User | None) -> Caller:
        caller = await self._access.caller(app, user)
        require_chat(caller.app)
        return caller
