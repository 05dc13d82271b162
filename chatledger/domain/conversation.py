"""A conversation: what its messages belong to."""

from typing import Any
from uuid import UUID

from chatledger.domain.aggregate import Aggregate
from chatledger.domain.events import ConversationEvent, ConversationStarted

UNNAMED = "New conversation"
SHORT_NAME = 20
LONG_NAME = 50


def name_from_query(query: str, *, automatic: bool) -> str:
    """The name of a conversation that nobody has named, made from its first query.

    With ``automatic`` the name may fill a line; without, it is only a hint of the query.
    """
    text = query.strip()
    if not text:
        return UNNAMED
    if automatic:
        return text if len(text) <= LONG_NAME else text[: LONG_NAME - 3] + "..."
    return text if len(text) <= SHORT_NAME else text[:SHORT_NAME] + "…"


class Conversation(Aggregate[ConversationEvent]):
    """Messages point to their conversation; it knows its owner and its name."""

    started: ConversationStarted

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
    ) -> "Conversation":
        """Open a conversation."""
        conversation = cls(conversation_id)
        conversation._record(
            ConversationStarted(
                app_id=app_id,
                end_user_id=end_user_id,
                hidden=hidden,
                name=name,
                inputs=inputs,
                introduction=introduction,
            )
        )
        return conversation

    def apply(self, body: ConversationEvent) -> None:
        """Fold one event into the state."""
        self.started = body
