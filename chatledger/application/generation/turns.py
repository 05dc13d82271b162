"""Whose turn it is: messages that wait until all earlier ones of their conversation have ended."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from uuid import UUID

from chatledger.application.generation.dispatch import MAX_BACKLOG, item_of
from chatledger.application.generation.offering import Offering
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import Views
from chatledger.domain.events import TERMINAL_EVENTS, AnswerChunkAppended, GenerationStarted, MessageCreated
from chatledger.domain.values import TURN_TAKERS

log = logging.getLogger(__name__)

LOOK_LIMIT = 500
"""Messages whose conversations are looked at in one query."""


class Turns:
    """Puts a message that waits on the queue as soon as its turn has come: then no earlier one can begin any more.

    It looks up what an earlier process left waiting, and then hears of what begins to wait and of what ends; where
    nobody waits, an end costs nothing. What it misses, the sweeper finds.

    Args:
        is_alone: whether no other node may have put on record who waits: else each end of an answer is looked at.
    """

    def __init__(self, views: Views, offering: Offering, *, is_alone: bool) -> None:
        self._views = views
        self._offering = offering
        self._is_alone = is_alone
        self._waiting: set[UUID] = set()
        self._knows_the_past = False
        self._heard_of: deque[UUID] = deque(maxlen=MAX_BACKLOG)
        self._news = asyncio.Event()

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        for envelope in envelopes:
            match envelope.body:
                case AnswerChunkAppended():
                    pass
                case MessageCreated(on_busy=on_busy) if on_busy in TURN_TAKERS:
                    self._wait_for(envelope.stream_id)
                case GenerationStarted(attempt=1):
                    self._waiting.discard(envelope.stream_id)
                case body if isinstance(body, TERMINAL_EVENTS):
                    self._waiting.discard(envelope.stream_id)
                    if self._waiting or not (self._knows_the_past and self._is_alone):
                        self._look_at(envelope.stream_id)

    def _wait_for(self, message_id: UUID) -> None:
        """Its turn may have come already. Who else waits need not be known where each end is looked at anyway."""
        if self._is_alone:
            self._waiting.add(message_id)
        self._look_at(message_id)

    def _look_at(self, message_id: UUID) -> None:
        self._heard_of.append(message_id)
        self._news.set()

    async def run(self) -> None:
        """Publish as turns come."""
        self._news.set()
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                if not self._knows_the_past:
                    await self._look_back()
                await self._look()
            except StorageUnavailableError as error:
                log.warning("whose turn it is, is left to the sweeper: the store is in trouble: %s", error)

    async def _look_back(self) -> None:
        for message_id in await self._views.waiting(MAX_BACKLOG):
            self._wait_for(message_id)
        self._knows_the_past = True

    async def _look(self) -> None:
        while self._heard_of:
            some = [self._heard_of.popleft() for _ in range(min(len(self._heard_of), LOOK_LIMIT))]
            tasks = await self._views.next_in_turn(some)
            await self._offering.offer([item_of(task, "MessageCreated") for task in tasks])
