"""What a generator is asked for a message: the question, and what had been said before it, as of its context cut."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

from chatledger.application.generation.moderating import Question
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.generator import Exchange, GenerationRequest, SentFile
from chatledger.application.ports.views import Views
from chatledger.domain.events import MessageCreated
from chatledger.domain.message import Message
from chatledger.domain.values import Json
from chatledger.domain.variables import variables_at

HISTORY_LIMIT = 500
"""How many ancestors of a message are looked at."""

ReadStream = Callable[[UUID], Awaitable[Sequence[Envelope]]]
"""Reads the events of a stream."""
SentFiles = Callable[[MessageCreated], Sequence[SentFile]]
"""The files of a message for whoever answers it."""


class Prompts:
    """The same for every attempt, and for whoever asks again years later."""

    def __init__(self, views: Views, read: ReadStream, sent_files: SentFiles) -> None:
        self._views = views
        self._read = read
        self._sent_files = sent_files

    def request(self, message: Message, question: Question) -> GenerationRequest:
        """What the generator is asked; history and variables are read when it wants them."""
        created = message.created

        async def history(most: int | None = None) -> Sequence[Exchange]:
            return await self._views.exchanges(
                message.id,
                message.context_cut,
                longest=HISTORY_LIMIT,
                tokens=created.context_tokens,
                most=most,
            )

        return GenerationRequest(
            message_id=message.id,
            attempt=message.attempt,
            mode=created.mode,
            query=question.query,
            inputs=question.inputs,
            settings=created.parameters,
            history=history,
            files=self._sent_files(created),
            variables=lambda: self._variables(created.conversation_id, message.context_cut),
        )

    async def _variables(self, conversation_id: UUID, cut: int) -> Mapping[str, Json]:
        kept = await self._views.variables(conversation_id)
        if kept and all(variable.updated_position <= max(cut, variable.position) for variable in kept):
            return {variable.name: variable.value for variable in kept}
        # Set again since, or gone with the conversation: the rows no longer say what held then.
        envelopes = await self._read(conversation_id)
        return variables_at(cut, ((known.position, known.body) for known in envelopes))
