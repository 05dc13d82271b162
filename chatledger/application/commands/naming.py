"""Names for conversations, found in their first message."""

import logging
from collections.abc import Mapping
from uuid import UUID

import msgspec

from chatledger.application.erasure.disclosing import Disclosing
from chatledger.application.errors import NotFoundError
from chatledger.application.generation.moderating import Gates
from chatledger.application.generation.small_texts import model_of, title_request, write_text
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.generator import Generator, GeneratorError
from chatledger.application.ports.views import Views
from chatledger.domain.events import MessageCreated
from chatledger.domain.names import line_of, title_in

log = logging.getLogger(__name__)


class FirstMessage(msgspec.Struct, frozen=True):
    """What a conversation began with, the event that says so, and the key that seals it."""

    event_id: UUID
    key_id: UUID | None
    created: MessageCreated


class Naming:
    """Asks the model that the first message was for, under the settings that it was sent with. Records nothing."""

    def __init__(
        self,
        ledger: Ledger,
        views: Views,
        generators: Mapping[str, Generator],
        gates: Gates,
        disclosing: Disclosing,
    ) -> None:
        self._ledger = ledger
        self._views = views
        self._generators = generators
        self._gates = gates
        self._disclosing = disclosing

    async def first_message(self, conversation_id: UUID) -> FirstMessage:
        """The first message of a conversation.

        Raises:
            NotFoundError: the conversation does not exist, or has none.
        """
        message_id = await self._views.first_message(conversation_id)
        first = None if message_id is None else await self._ledger.first(message_id)
        if first is None or not isinstance(first.body, MessageCreated):
            raise NotFoundError("conversation")
        return FirstMessage(first.event_id, first.key_id, first.body)

    async def find_name(self, message: FirstMessage) -> str | None:
        """A name for the conversation that begins with this: a line of the query, where no model is or may be asked.

        None where the model fails.

        Raises:
            KeyDestroyedError: it has been erased.
        """
        first = message.created
        model = model_of(self._generators.get(first.generator), first.parameters)
        if model is None:
            return line_of(first.query)
        try:
            async with self._disclosing.while_sealed(message.key_id):
                query = await self._gates.admitted_query(first.app_id, first.query)
                if query is None:
                    return line_of(first.query)
                return title_in(await write_text(model, title_request(query))) or None
        except GeneratorError as error:
            # Its text may be a provider's, and quote what was asked.
            log.warning("no name for a conversation: %s", error.kind)
            return None
