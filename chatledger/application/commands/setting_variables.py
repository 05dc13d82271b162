"""Giving a conversation's variable another value."""

from uuid import UUID

from chatledger.application.accepting import accept_json
from chatledger.application.caller import Caller, Ownership
from chatledger.application.errors import NotFoundError, TypeMismatchError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.views import VariableView, Views
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import ConversationDeletedError, NoSuchVariableError, VariableTypeError
from chatledger.domain.values import Json


class SettingVariables:
    """The use case of the route that changes a variable."""

    def __init__(self, ledger: Ledger, views: Views, ownership: Ownership, longest_value: int) -> None:
        self._ledger = ledger
        self._views = views
        self._ownership = ownership
        self._longest_value = longest_value

    async def set(self, caller: Caller, conversation_id: UUID, variable_id: UUID, value: Json) -> VariableView:
        """Give the variable this value, which has to be of its type.

        Raises:
            NotFoundError: the conversation is not the caller's, or has no such variable.
            InvalidParameterError: the value is no JSON.
            TooLongError: it takes more characters than may be.
            TypeMismatchError: it is of another type.
        """
        owner_id = await self._ownership.require_conversation(caller, conversation_id)
        value = accept_json("value", value, self._longest_value)

        def decide(staged: Staged[Conversation]) -> None:
            staged.aggregate.set_variable(variable_id, value)

        try:
            await self._ledger.decide(Conversation, conversation_id, decide, caller.context_of_change(owner_id))
        except ConversationDeletedError as error:
            raise NotFoundError("conversation") from error
        except NoSuchVariableError as error:
            raise NotFoundError("conversation_variable") from error
        except VariableTypeError as error:
            raise TypeMismatchError(str(error)) from error
        view = await self._views.variable(variable_id)
        if view is None:
            raise NotFoundError("conversation")
        return view
