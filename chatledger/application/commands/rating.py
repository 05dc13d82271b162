"""Rating a message, and taking the rating back."""

from uuid import UUID

from chatledger.application.caller import Caller, Ownership
from chatledger.application.errors import InvalidParameterError, NotFoundError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.views import Views
from chatledger.domain.errors import NothingToWithdrawError
from chatledger.domain.message import Message
from chatledger.domain.values import Rating


class RatingMessages:
    """The use case of the feedback route."""

    def __init__(self, ledger: Ledger, views: Views, ownership: Ownership) -> None:
        self._ledger = ledger
        self._views = views
        self._ownership = ownership

    async def rate(self, caller: Caller, message_id: UUID, rating: Rating | None, content: str | None) -> None:
        """Give the end user's rating, or withdraw it with None.

        Raises:
            NotFoundError: the message does not exist, or is not the caller's.
            InvalidParameterError: there is nothing to withdraw.
        """
        view = await self._views.message(message_id)
        if view is None:
            raise NotFoundError("message")
        await self._ownership.require(caller, "message", view.app_id, view.end_user_id)

        def decide(staged: Staged[Message]) -> None:
            if rating is None:
                staged.aggregate.withdraw_feedback("user")
            else:
                staged.aggregate.give_feedback("user", rating, content)

        try:
            await self._ledger.decide(Message, message_id, decide, caller.context(view.end_user_id))
        except NothingToWithdrawError as error:
            raise InvalidParameterError("rating", "rating cannot be None when feedback not exists") from error
