"""Following a message: every committed event once, in order, whatever happens in between."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from uuid import UUID

from chatledger.application.errors import ClosedError
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ledger.tail import ConversationTail, Tail
from chatledger.application.ports.queue import LiveBus
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import Views
from chatledger.application.queries.following_conversations import ConversationFollower
from chatledger.application.queries.listening import EVENTS_AT_ONCE, Listening, Lookout, require_recorded, up_to_end
from chatledger.application.queries.pages import Pages


class Follower(Listening):
    """Subscribes when it is made, reads the ledger after that, and joins the two by version: no gap, no repeat.

    Attributes:
        version: the last one that it has read, which may be one that came after the terminal event.
        has_ended: whether it has read the terminal event.
    """

    def __init__(
        self,
        message_id: UUID,
        ledger: Ledger,
        pages: Pages,
        tail: Tail,
        bus: LiveBus,
        lookout: Lookout,
        closing: asyncio.Event,
    ) -> None:
        super().__init__(message_id, bus, tail.follow(message_id), lookout)
        self._message_id = message_id
        self._ledger = ledger
        self._pages = pages
        self._tail = tail
        self._closing = closing
        self.version = 0
        self.has_ended = False
        self._is_behind = False

    async def batches(
        self, after: int = 0, known: Sequence[Envelope] = (), *, whole: bool = False, field: str = "after"
    ) -> AsyncGenerator[Sequence[Envelope], None]:
        """The events after a version, in batches as they were committed, up to the terminal event.

        After that one, and after what came later (a rating, say), there are none.

        Each second without news gives an empty batch, so that the caller can do what time demands. ``known`` are the
        first of these events, where the caller has them already; who wants the stream ``whole`` gets those up to that
        version too. Where chatledger closes they end with what is on record; by an error, where the store is in
        trouble. ``field`` is what the caller calls the version.

        Raises:
            InvalidParameterError: the stream has no such version.
            StorageUnavailableError: nothing gets on record for now.
        """
        newer: Sequence[Envelope] = known or await self._page()
        require_recorded(after, await self._latest() if self._is_behind else len(newer), field)
        whole = whole or not after
        while True:
            if newer:
                self.version = newer[-1].version
            batch, self.has_ended = up_to_end(newer)
            yield batch if whole else [envelope for envelope in batch if envelope.version > after]
            if self.has_ended:
                return
            held, told = None, True
            if not self._is_behind:
                told = await self.news()
                held = self._tail.after(self._message_id, self.version)
            if self.is_closed:
                return
            is_last = self._closing.is_set()
            if held is not None and (held or (self.has_come(told=told) and not is_last)):
                newer = held
                continue
            has_all = (held is not None and is_last and self._lookout.is_alone) or self._has_all(told=told)
            newer = () if has_all else await self._page()
            if is_last and not newer:
                return
            if not newer and (trouble := self._ledger.trouble) is not None:
                raise StorageUnavailableError(trouble)

    def _has_all(self, *, told: bool) -> bool:
        """Whether silence means that there is nothing newer."""
        return not (told or self.may_have_missed) and self._tail.newest(self._message_id) <= self.version

    async def _page(self) -> Sequence[Envelope]:
        self.begin_to_read()
        page = await self._pages.after(self._message_id, self.version)
        self._is_behind = len(page) == EVENTS_AT_ONCE
        return page

    async def _latest(self) -> int:
        head = await self._ledger.stream_head(self._message_id)
        return 0 if head is None else head.version


class Following:
    """Makes followers.

    Attributes:
        closing: set where all followers are to read what there is, and end.
    """

    def __init__(
        self,
        ledger: Ledger,
        views: Views,
        tail: Tail,
        conversation_tail: ConversationTail,
        bus: LiveBus,
        lookout: Lookout,
    ) -> None:
        self._ledger = ledger
        self._pages = Pages(ledger, are_gathered=not lookout.is_alone)
        self._views = views
        self._tail = tail
        self._conversation_tail = conversation_tail
        self._bus = bus
        self._lookout = lookout
        self.closing = asyncio.Event()

    def follow(self, message_id: UUID) -> Follower:
        """Begin to follow a message, which need not exist yet. The caller closes the follower.

        Raises:
            ClosedError: chatledger closes.
        """
        if self.closing.is_set():
            raise ClosedError
        return Follower(message_id, self._ledger, self._pages, self._tail, self._bus, self._lookout, self.closing)

    def follow_conversation(self, conversation_id: UUID) -> ConversationFollower:
        """Begin to follow a conversation. The caller closes the follower.

        Raises:
            ClosedError: chatledger closes.
        """
        if self.closing.is_set():
            raise ClosedError
        return ConversationFollower(
            conversation_id,
            self._ledger,
            self._views,
            self._conversation_tail,
            self._bus,
            self._lookout,
            self.closing,
        )

    def close(self) -> None:
        """Let all followers read what there is, and end."""
        self.closing.set()
        self._bus.rouse()
