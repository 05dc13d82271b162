"""Rating a message, and taking the rating back."""

from typing import get_args
from uuid import UUID

from chatledger.application.accepting import accept_choice, accept_text
from chatledger.application.caller import Caller, Ownership
from chatledger.application.errors import InvalidParameterError, NotFoundError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.views import Views
from chatledger.domain.errors import NothingToWithdrawError
from chatledger.domain.message import Message
from chatledger.domain.values import Rating


class RatingMessages:
    """The use case of the feedback route."""

    def __init__(self, ledger: Ledger, views: Views, ownership: Ownership, longest_content: int) -> None:
        self._ledger = ledger
        self._views = views
        self._ownership = ownership
        self._longest_content = longest_content

    async def rate(self, caller: Caller, message_id: UUID, rating: Rating | None, content: str | None) -> None:
        """Give the end user's rating, or withdraw it with None.

        Raises:
            NotFoundError: the message does not exist, or is not the caller's.
            InvalidParameterError: the rating or its text is not acceptable, or there is nothing to withdraw.
        """
        given = None if rating is None else accept_choice("rating", rating, get_args(Rating))
        text = None if content is None else accept_text("content", content, self._longest_content)
        view = await self._views.message(message_id)
        if view is None:
            raise NotFoundError("message")
        await self._ownership.require(caller, "message", view.app_id, view.end_user_id)

        def decide(staged: Staged[Message]) -> None:
            if given is None:
                staged.aggregate.withdraw_feedback("user")
            else:
                staged.aggregate.give_feedback("user", given, text)

        try:
            await self._ledger.decide(Message, message_id, decide, caller.context_of_change(view.end_user_id))
        except NothingToWithdrawError as error:
            raise InvalidParameterError("rating", "rating cannot be None when feedback not exists") from error
