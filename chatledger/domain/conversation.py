"""A conversation: what its messages belong to."""

from typing import Any, assert_never
from uuid import UUID

import msgspec

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.configuration import DeclaredVariable
from chatledger.domain.errors import ConversationDeletedError, NoSuchVariableError
from chatledger.domain.events import (
    ConversationDeleted,
    ConversationErased,
    ConversationEvent,
    ConversationPinned,
    ConversationRenamed,
    ConversationStarted,
    ConversationUnpinned,
    ConversationVariableSet,
)
from chatledger.domain.values import ErasureCause, Json, RenamedBy
from chatledger.domain.variables import first_value, require_fit


class Conversation(Aggregate[ConversationEvent]):
    """Messages point to their conversation; it knows its owner, its name and its variables.

    Attributes:
        named_by: who gave the name; None while it is the first one, made from the first query.
        named_at: the version at which the user last gave it a name, or 0.
        variables: each as it was last set.
    """

    started: ConversationStarted
    name: str

    def __init__(self, aggregate_id: UUID) -> None:
        super().__init__(aggregate_id)
        self.named_by: RenamedBy | None = None
        self.named_at = 0
        self.variables: dict[UUID, ConversationVariableSet] = {}
        self.is_pinned = False
        self.is_deleted = False
        self.is_erased = False

    @classmethod
    def start(
        cls,
        conversation_id: UUID,
        *,
        app_id: UUID,
        end_user_id: UUID,
        hidden: bool,
        name: str,
        inputs: dict[str, Any],
        introduction: str,
        automatic_name: bool = False,
    ) -> "Conversation":
        """Open a conversation."""
        conversation = cls(conversation_id)
        conversation._record(
            ConversationStarted(
                app_id=app_id,
                end_user_id=end_user_id,
                hidden=hidden,
                automatic_name=automatic_name,
                name=name,
                inputs=inputs,
                introduction=introduction,
            )
        )
        return conversation

    def rename(self, name: str) -> None:
        """Give it a name of the user's own.

        Raises:
            ConversationDeletedError: it is gone.
        """
        self._require_living()
        self._record(self._renamed("user", name))

    def take_found_name(self, name: str, asked_at: int) -> None:
        """Give it the name that was found for it at the user's wish, when it was at this version.

        The name that it has, found once more, is no fact; nor is one that a name of the user's own has overtaken.

        Raises:
            ConversationDeletedError: it is gone.
        """
        self._require_living()
        if self.named_at <= asked_at and name != self.name:
            self._record(self._renamed("automatic", name))

    def take_first_name(self, name: str) -> None:
        """Give it the name that was found for it. Once it has been renamed, by whomever, it needs none: no fact.

        Raises:
            ConversationDeletedError: it is gone.
        """
        self._require_living()
        if self.named_by is None:
            self._record(self._renamed("automatic", name))

    def declare_variable(self, variable_id: UUID, declared: DeclaredVariable) -> None:
        """Add a variable, with its first value.

        Raises:
            ConversationDeletedError: it is gone.
            VariableTypeError: the default is of another type.
        """
        self._require_living()
        self._record(
            ConversationVariableSet(
                variable_id=variable_id,
                value_type=declared.value_type,
                name=declared.name,
                value=first_value(declared),
                description=declared.description,
            )
        )

    def set_variable(self, variable_id: UUID, value: Json) -> None:
        """Give a variable another value. The same value again is no fact.

        Raises:
            ConversationDeletedError: it is gone.
            NoSuchVariableError: it has no such variable.
            VariableTypeError: the value is not of the variable's type.
        """
        self._require_living()
        known = self.variables.get(variable_id)
        if known is None:
            raise NoSuchVariableError
        require_fit(known.name, known.value_type, value)
        # As text: to Python 1 and True are the same.
        if msgspec.json.encode(known.value) != msgspec.json.encode(value):
            self._record(msgspec.structs.replace(known, value=value))

    def pin(self) -> None:
        """Put it above the others. Doing so again changes nothing.

        Raises:
            ConversationDeletedError: it is gone.
        """
        self._require_living()
        if not self.is_pinned:
            self._record(ConversationPinned())

    def unpin(self) -> None:
        """Put it back among the others. Doing so again changes nothing.

        Raises:
            ConversationDeletedError: it is gone.
        """
        self._require_living()
        if self.is_pinned:
            self._record(ConversationUnpinned())

    def delete(self) -> None:
        """Make it gone for everybody who uses the app, what is left of an erased one too.

        Raises:
            ConversationDeletedError: it is gone already.
        """
        if self.is_deleted:
            raise ConversationDeletedError
        self._record(ConversationDeleted())

    def erase(self, cause: ErasureCause) -> None:
        """Put on record that it is for nobody any more, a deleted one too. Doing so again changes nothing."""
        if not self.is_erased:
            self._record(ConversationErased(cause=cause))

    def _renamed(self, by: RenamedBy, name: str) -> ConversationRenamed:
        return ConversationRenamed(by=by, end_user_id=self.started.end_user_id, name=name)

    def _require_living(self) -> None:
        if self.is_deleted or self.is_erased:
            raise ConversationDeletedError

    def apply(self, body: ConversationEvent) -> None:
        """Fold one event into the state."""
        match body:
            case ConversationStarted():
                self.started = body
                self.name = body.name
            case ConversationRenamed():
                self.named_by = body.by
                self.name = body.name
                if body.by == "user":
                    self.named_at = self.version + 1
            case ConversationVariableSet():
                self.variables[body.variable_id] = body
            case ConversationPinned():
                self.is_pinned = True
            case ConversationUnpinned():
                self.is_pinned = False
            case ConversationDeleted():
                self.is_deleted = True
            case ConversationErased():
                self.is_erased = True
            case _:
                assert_never(body)
