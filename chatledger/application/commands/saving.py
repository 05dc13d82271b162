"""Keeping messages at hand, and letting them go."""

from uuid import UUID

from chatledger.application.accepting import MAX_PAGE, accept_number
from chatledger.application.caller import Caller, EndUsers, Ownership
from chatledger.application.errors import InvalidParameterError, NotFoundError
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.views import MessageView, Page, Views
from chatledger.domain.end_user import SHARED_EXTERNAL_ID
from chatledger.domain.message import Message


class SavingMessages:
    """The use cases of a person's saved messages."""

    def __init__(self, ledger: Ledger, views: Views, end_users: EndUsers, ownership: Ownership) -> None:
        self._ledger = ledger
        self._views = views
        self._end_users = end_users
        self._ownership = ownership

    async def save(self, caller: Caller, message_id: UUID) -> None:
        """Keep a message at hand. Doing so again changes nothing.

        Raises:
            NotFoundError: the message does not exist, or is not the caller's.
        """
        owner_id = await self._owner(caller, message_id)
        await self._ledger.decide(
            Message, message_id, lambda staged: staged.aggregate.save(), caller.context_of_change(owner_id)
        )

    async def unsave(self, caller: Caller, message_id: UUID) -> None:
        """Keep a message at hand no longer. Doing so again changes nothing.

        Raises:
            NotFoundError: the message does not exist, or is not the caller's.
        """
        owner_id = await self._owner(caller, message_id)
        await self._ledger.decide(
            Message, message_id, lambda staged: staged.aggregate.unsave(), caller.context_of_change(owner_id)
        )

    async def saved(self, caller: Caller, page: Page) -> tuple[list[MessageView], bool]:
        """One page of the person's saved messages, the last saved first, and whether more follow.

        Raises:
            InvalidParameterError: a page is not that long, or the message to page from is not among them.
        """
        accept_number("limit", page.limit, 1, MAX_PAGE)
        app_id = caller.app.app_id
        person = await self._end_users.find(app_id, caller.kind, caller.user or SHARED_EXTERNAL_ID)
        found = None
        if person is not None:
            found = await self._views.saved_messages(person.end_user_id, page)
        elif page.beyond is None:
            return [], False
        if found is None:
            raise InvalidParameterError("last_id", "last_id is not among the saved messages")
        return found

    async def _owner(self, caller: Caller, message_id: UUID) -> UUID:
        view = await self._views.message(message_id)
        if view is None:
            raise NotFoundError("message")
        await self._ownership.require(caller, "message", view.app_id, view.end_user_id)
        return view.end_user_id
