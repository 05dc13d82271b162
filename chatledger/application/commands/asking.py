"""Asking: sending a message, and waiting for the whole answer."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from chatledger.application.caller import Caller
from chatledger.application.commands.new_message import NewMessage, Sent
from chatledger.application.commands.sending import Sending
from chatledger.application.errors import AnswerPendingError, GenerationFailedError
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.domain.events import (
    TERMINAL_EVENTS,
    AnnotationMatched,
    MessageCompleted,
    MessageErrored,
    MessageStopped,
)
from chatledger.domain.message import Message
from chatledger.domain.values import Resource


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer.

    Attributes:
        annotation: what answered in place of a generator, if something did.
        end: how it came to its end, with what it cost.
        created_at: when the question was committed, in microseconds since the epoch.
    """

    message_id: UUID
    task_id: UUID
    conversation_id: UUID
    text: str
    resources: Sequence[Resource]
    annotation: AnnotationMatched | None
    end: MessageCompleted | MessageStopped
    created_at: int


class Asking:
    """The use case of whoever wants an answer whole."""

    def __init__(self, sending: Sending) -> None:
        self._sending = sending

    async def ask(self, caller: Caller, new: NewMessage) -> Answer:
        """Send, and wait for the end. A caller that goes away ends nothing: the message is answered all the same.

        Raises:
            GenerationFailedError: the answer ended as errored.
            AnswerPendingError: there will be an answer, but the wait for it is over.
            ApplicationError: the message was refused, as by :meth:`Sending.send`.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        return await self.wait(caller, await self._sending.send(caller, new))

    async def wait(self, caller: Caller, sent: Sent) -> Answer:
        """Wait for the end of the answer to a message that the caller sent.

        Raises:
            GenerationFailedError: the answer ended as errored.
            AnswerPendingError: there will be an answer, but the wait for it is over.
        """
        conversation_id = None if caller.app.mode == "completion" else sent.conversation_id
        pending = AnswerPendingError(sent.message_id, sent.task_id, conversation_id, is_keyed=sent.is_keyed)
        with sent.follower:
            try:
                message, end = await _to_the_end(sent)
            except StorageUnavailableError as error:
                raise pending from error
        if end is None:
            raise pending
        if isinstance(end, MessageErrored):
            raise GenerationFailedError(
                end.code,
                end.message,
                message_id=sent.message_id,
                task_id=sent.task_id,
                conversation_id=conversation_id,
            )
        return Answer(
            message_id=sent.message_id,
            task_id=sent.task_id,
            conversation_id=sent.conversation_id,
            text=message.answer,
            resources=message.resources,
            annotation=message.annotation,
            end=end,
            created_at=sent.created.recorded_at,
        )


async def _to_the_end(sent: Sent) -> tuple[Message, MessageCompleted | MessageStopped | MessageErrored | None]:
    """The message and how it ended, which is None where following ends before.

    Raises:
        StorageUnavailableError: the store is in trouble.
    """
    message, end = Message(sent.message_id), None
    async for batch in sent.follower.batches(known=sent.known):
        bodies: list[Any] = [envelope.body for envelope in batch]
        message.fold_on(bodies)
        end = next((body for body in bodies if isinstance(body, TERMINAL_EVENTS)), None)
    return message, end
