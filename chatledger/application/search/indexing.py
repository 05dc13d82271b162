"""Keeping the index up with the ledger: what has ended can be found, and what is erased cannot be any more."""

import asyncio
import logging
from collections.abc import Sequence
from typing import NoReturn, Protocol
from uuid import UUID

import msgspec

from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.leases import LeaseLostError
from chatledger.application.ports.search_index import IndexedMessage, SearchIndex
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import MessageView
from chatledger.application.search.terms import Terms
from chatledger.application.waiting import wait_at_most
from chatledger.domain.events import TERMINAL_EVENTS, ConversationErased, EndUserErased

log = logging.getLogger(__name__)

VERSION = 1
"""Raised with every change to what a message is found by: the index is made anew."""

PACE = 0.2
"""Seconds between two commits of the index while there is news: what ends in between shares one."""
LOOK_AGAIN = 1.0
"""Seconds after which it looks for what it was not told of."""
WORTH_KEEPING = 10_000
"""Positions without a message after which it is noted how far it has come."""


class EndedMessages(msgspec.Struct, frozen=True):
    """What has come to an end after a position.

    Attributes:
        messages: those whose answers are over, as they stand; none that is erased, or cannot be read.
        erased: conversations that were erased.
        end: the position up to which was looked.
        is_full: there may be more.
    """

    messages: Sequence[MessageView]
    erased: Sequence[UUID]
    end: int
    is_full: bool


class EndedMessageViews(Protocol):
    """Where what has ended is read."""

    async def ended_after(self, position: int) -> EndedMessages:
        """A bounded number of what has ended after a position, in order."""
        ...


class Indexer:
    """Follows the ledger. One for each index.

    Attributes:
        index: what it keeps up.
        terms: by which messages are found in it.
    """

    def __init__(self, views: EndedMessageViews, index: SearchIndex, terms: Terms, ledger: UUID) -> None:
        self._views = views
        self.index = index
        self.terms = terms
        self._ledger = ledger
        self._news = asyncio.Event()
        self._position = 0
        self._moved = asyncio.Event()

    @property
    def position(self) -> int:
        """The position up to which everything can be found, or not be found any more."""
        return self._position

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Hear of what ends."""
        if any(isinstance(envelope.body, (*TERMINAL_EVENTS, ConversationErased)) for envelope in envelopes):
            self._news.set()
        if any(isinstance(envelope.body, (ConversationErased, EndUserErased)) for envelope in envelopes):
            self.terms.forget()

    async def caught_up(self, position: int, timeout: float) -> None:
        """Wait until it has come to a position.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds.
        """
        async with asyncio.timeout(timeout):
            while self._position < position:
                moved = self._moved
                self._news.set()
                await moved.wait()

    async def run(self) -> None:
        """Follow, whatever fails."""
        while True:
            try:
                await self._follow()
            except StorageUnavailableError:
                log.warning("search: the index or the ledger is in trouble")
            except LeaseLostError:
                log.warning("search: another node keeps the index up")
            await asyncio.sleep(LOOK_AGAIN)

    async def _follow(self) -> NoReturn:
        position = kept = await self.index.begin(self._ledger, VERSION)
        while True:
            self._news.clear()
            ended = await self._views.ended_after(position)
            if ended.messages or ended.erased or ended.end - kept >= WORTH_KEEPING:
                messages = await asyncio.to_thread(self._indexed, ended.messages)
                await self.index.put(messages, ended.erased, ended.end)
                kept = ended.end
                if ended.erased:  # what was read before they were may have come by since the commit
                    self.terms.forget()
            position = ended.end
            if not ended.is_full:
                await self.index.purge()
                self._went_to(position)
                await asyncio.sleep(PACE)
                await wait_at_most(self._news, LOOK_AGAIN)

    def _indexed(self, messages: Sequence[MessageView]) -> list[IndexedMessage]:
        return [
            IndexedMessage(
                view.position,
                view.message_id,
                view.conversation_id,
                self.terms.indexed(view.app_id, view.end_user_id, view.query, view.answer),
            )
            for view in messages
        ]

    def _went_to(self, position: int) -> None:
        self._position = position
        self._moved.set()
        self._moved = asyncio.Event()
