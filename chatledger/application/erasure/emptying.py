"""Emptying the rows of a long conversation, before one event would empty them all at once."""

from uuid import UUID

from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ledger.projected.conversations import EMPTIED
from chatledger.application.ports.erasure import ErasureViews
from chatledger.application.ports.storage import Update

AT_ONCE = 100
"""How many messages of a conversation are emptied in one commit."""


async def empty_conversation(ledger: Ledger, views: ErasureViews, conversation_id: UUID) -> None:
    """Make the rows of messages what they are without their key, which is destroyed; the event finds the last few.

    Others commit in between. The event's own transaction goes over all of them again, and is quick where nothing is
    left: it is what a replay knows of.

    Raises:
        StorageUnavailableError: the store is in trouble.
    """
    last = 0
    while len(found := await views.messages_of(conversation_id, last, AT_ONCE)) == AT_ONCE:
        await ledger.keep(*(Update("messages", {"message_id": each}, EMPTIED) for _, each in found))
        last = found[-1][0]
