"""Ending the answers that a later message interrupts: a reaction to that message, which waits until they have ended."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from uuid import UUID

from chatledger.application.commands.stopping import Stopping
from chatledger.application.fault_report import describe
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.views import Interruption, Views
from chatledger.domain.events import MessageCreated

log = logging.getLogger(__name__)

LOOK_INTERVAL = 5.0
"""Seconds between two looks for answers that were passed over: by trouble in the store, or by the end of a node."""

LOOK_LIMIT = 1_000


class Interruptions:
    """Stops what came before a message that interrupts, in its conversation: what runs, and what waits.

    It hears of such messages as they are committed. The read model knows what has not been asked to end yet: what
    another process left behind is found there, by one node for all. Of two that interrupt, the later one interrupts the
    other.
    """

    def __init__(self, views: Views, stopping: Stopping) -> None:
        self._views = views
        self._stopping = stopping
        self._heard_of: set[UUID] = set()
        self._news = asyncio.Event()

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        for envelope in envelopes:
            body = envelope.body
            if isinstance(body, MessageCreated) and body.on_busy == "interrupt":
                self._heard_of.add(body.conversation_id)
                self._news.set()

    async def look_back(self) -> None:
        """Stop what was left behind: one node for all."""
        while True:
            await self._look()
            await asyncio.sleep(LOOK_INTERVAL)

    async def follow(self) -> None:
        """Stop what comes."""
        while True:
            await self._news.wait()
            self._news.clear()
            conversations, self._heard_of = self._heard_of, set()
            await self._look(conversations)

    async def _look(self, conversations: Collection[UUID] | None = None) -> None:
        """At all, or at these."""
        try:
            found = await self._views.interrupted(LOOK_LIMIT, conversations)
        except Exception as error:  # noqa: BLE001 - the next look at all finds them
            log.warning("interrupted answers are stopped later: %s", describe(error))
            return
        # What waits first: it would begin when what runs has ended.
        for waits in (True, False):
            await asyncio.gather(*(self._stop(each) for each in found if each.waits == waits))

    async def _stop(self, interruption: Interruption) -> None:
        try:
            await self._stopping.stop_for("interruption", interruption.message_id, because_of=interruption.by)
        except Exception as error:  # noqa: BLE001 - one answer's failure is not the others'
            log.warning("message %s is stopped later: %s", interruption.message_id, describe(error))
