"""Following a conversation: the events of all its messages, each once, in order of position."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from heapq import merge
from uuid import UUID

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ledger.tail import ConversationTail
from chatledger.application.ports.queue import LiveBus
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import Views
from chatledger.application.queries.listening import EVENTS_AT_ONCE, Listening, Lookout, require_recorded, up_to_end
from chatledger.domain.events import TERMINAL_EVENTS, ConversationDeleted

MESSAGES_AT_ONCE = 10
"""How many messages that begin in it a page may have."""


class ConversationFollower(Listening):
    """Subscribes when it is made, reads the ledger after that, and joins the two by position: no gap, no repeat.

    It holds a page, and of each message under way how far it has been read.

    Attributes:
        is_over: whether it has come to the conversation's deletion.
    """

    def __init__(
        self,
        conversation_id: UUID,
        ledger: Ledger,
        views: Views,
        tail: ConversationTail,
        bus: LiveBus,
        lookout: Lookout,
        closing: asyncio.Event,
    ) -> None:
        super().__init__(conversation_id, bus, tail.follow(conversation_id), lookout)
        self._conversation_id = conversation_id
        self._ledger = ledger
        self._views = views
        self._tail = tail
        self._closing = closing
        self._position = 0
        self._begun_up_to = 0
        self._read: dict[UUID, int] = {}
        self._is_behind = True
        self.is_over = False

    async def batches(self, after: int = 0, *, field: str = "after") -> AsyncGenerator[Sequence[Envelope], None]:
        """The events of the conversation's messages after a position, each message's up to its terminal event.

        Those of a message that was under way at the position come from its beginning: who does not know what it has
        said cannot go on with it. Each second without news gives an empty batch. Where chatledger closes, or the
        conversation is deleted, they end, within a second. ``field`` is what the caller calls the position.

        Raises:
            InvalidParameterError: the ledger has no such position.
            KeyDestroyedError: the conversation has been erased.
            StorageUnavailableError: messages are under way, and nothing gets on record for now.
        """
        news = await self._views.conversation_news(self._conversation_id, after, 0)
        if news is None:
            return
        require_recorded(after, news.head, field)
        self._key_id = news.key_id
        self._position = self._begun_up_to = after
        self._read = dict.fromkeys(await self._views.under_way(self._conversation_id, after), 0)
        told = True
        while not (self.is_closed or self.is_over):
            batch = None if self._is_behind else self._tail.after(self._conversation_id, self._position)
            has_come = self.has_come(told=told)
            if batch is None or not (batch or (has_come and not self._closing.is_set())):
                if self._closing.is_set():
                    return
                if batch is None or (told and not has_come) or self.may_have_missed or self._may_be_erased():
                    batch = await self._page()
                if not batch and self._read and (trouble := self._ledger.trouble) is not None:
                    raise StorageUnavailableError(trouble)
            batch = self._note(batch)
            if not self._is_behind:
                self._tail.know(self._conversation_id, self._read.keys())
            if batch or not self.is_over:
                yield batch
            if not (self._is_behind or self.is_over):
                told = await self.news()

    def _may_be_erased(self) -> bool:
        """Whether the key is not at hand: reading the conversation shows whether it is still there."""
        return self._ledger.keyring.cached(self._key_id) is None

    async def _page(self) -> Sequence[Envelope]:
        """The next events off the ledger.

        Messages are taken in order of their first events, a few at a time. What lies before the first event of the
        next one can be an event of these few alone, or of those that were under way before: so that far all is there.
        The ledger's end bounds it too, as it was when the messages were looked up: one that began later may have
        events before others that are read only now.
        """
        self.begin_to_read()
        news = await self._views.conversation_news(self._conversation_id, self._begun_up_to, MESSAGES_AT_ONCE + 1)
        if news is None:
            self.is_over = True
            return ()
        bound = news.head + 1
        if len(news.begun) > MESSAGES_AT_ONCE:
            bound = news.begun[MESSAGES_AT_ONCE].position
        for begun in news.begun[:MESSAGES_AT_ONCE]:
            self._read[begun.message_id] = 0
            self._begun_up_to = begun.position
        parts = []
        for message_id, version in self._read.items():
            part = await self._ledger.read(message_id, version, EVENTS_AT_ONCE)
            if len(part) == EVENTS_AT_ONCE:
                bound = min(bound, part[-1].position + 1)
            parts.append(up_to_end(part)[0])
        self._position = max(self._position, bound - 1)
        self._is_behind = bound <= news.head
        in_order = merge(*parts, key=lambda envelope: envelope.position)
        return [envelope for envelope in in_order if envelope.position < bound]

    def _note(self, batch: Sequence[Envelope]) -> Sequence[Envelope]:
        """Those of these events that are to be shown: up to the deletion, and none that came after its message's end.

        The tail may hold on to a message whose end came while it was being told of it.
        """
        shown = []
        for envelope in batch:
            message_id, self._position = envelope.stream_id, max(self._position, envelope.position)
            if isinstance(envelope.body, ConversationDeleted):
                self.is_over = True
                break
            if envelope.version == 1:
                self._begun_up_to = max(self._begun_up_to, envelope.position)
            elif message_id not in self._read:
                continue
            if isinstance(envelope.body, TERMINAL_EVENTS):
                del self._read[message_id]
            else:
                self._read[message_id] = envelope.version
            shown.append(envelope)
        return shown
