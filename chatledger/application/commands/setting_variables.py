"""Giving a conversation's variable another value."""

from uuid import UUID

from chatledger.application.accepting import accept_json
from chatledger.application.caller import Caller, Ownership
from chatledger.application.errors import NotFoundError, TypeMismatchError
from chatledger.application.files.attaching import Attaching, FileRules
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.views import VariableView, Views
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import ConversationDeletedError, NoSuchVariableError, VariableTypeError
from chatledger.domain.values import Json
from chatledger.domain.variables import fits

_FILES = FileRules(field="value")


class SettingVariables:
    """The use case of the route that changes a variable."""

    def __init__(
        self, ledger: Ledger, views: Views, ownership: Ownership, attaching: Attaching, longest_value: int
    ) -> None:
        self._ledger = ledger
        self._views = views
        self._ownership = ownership
        self._attaching = attaching
        self._longest_value = longest_value

    async def set(self, caller: Caller, conversation_id: UUID, variable_id: UUID, value: Json) -> VariableView:
        """Give the variable this value, which has to be of its type.

        Raises:
            NotFoundError: the conversation is not the caller's, or has no such variable.
            InvalidParameterError: the value is no JSON, or names a file that is not the owner's.
            TooLongError: it takes more characters than may be.
            TypeMismatchError: it is of another type.
        """
        owner_id = await self._ownership.require_conversation(caller, conversation_id)
        value = accept_json("value", value, self._longest_value)
        await self._require_own_files(owner_id, variable_id, value)

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

    async def _require_own_files(self, owner_id: UUID, variable_id: UUID, value: Json) -> None:
        """Files in a variable are such as its owner could send. What fits no variable of files is refused later."""
        variable = await self._views.variable(variable_id)
        if variable is None or not fits(variable.value_type, value):
            return
        if variable.value_type == "file":
            await self._attaching.accept(_FILES, owner_id, [value])
        elif variable.value_type == "array[file]":
            await self._attaching.accept(_FILES, owner_id, value)
