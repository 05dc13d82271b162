"""Ending the answers in deleted conversations: a reaction to the deletion, as nobody can stop them any more."""

import asyncio
import logging
from collections.abc import Sequence

from chatledger.application.commands.stopping import Stopping
from chatledger.application.fault_report import describe
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ports.views import Views
from chatledger.domain.events import ConversationDeleted

log = logging.getLogger(__name__)

LOOK_INTERVAL = 5.0
"""Seconds between two looks for answers that were passed over: by trouble in the store, or by the end of a node."""

LOOK_LIMIT = 1_000


class DeletedConversations:
    """Stops what is being answered in them.

    It hears of deletions as they are committed. The read model knows what still runs: what another process left
    behind is found there, by one node for all.
    """

    def __init__(self, views: Views, stopping: Stopping) -> None:
        self._views = views
        self._stopping = stopping
        self._news = asyncio.Event()

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        if any(isinstance(envelope.body, ConversationDeleted) for envelope in envelopes):
            self._news.set()

    async def look_back(self) -> None:
        """Stop what was left behind: one node for all."""
        while True:
            await self._look()
            await asyncio.sleep(LOOK_INTERVAL)

    async def follow(self) -> None:
        """Stop what is there whenever a conversation is deleted."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._look()

    async def _look(self) -> None:
        try:
            found = await self._views.unseen(LOOK_LIMIT)
        except Exception as error:  # noqa: BLE001 - the next look finds them
            log.warning("answers in deleted conversations are stopped later: %s", describe(error))
            return
        # The newest first: what waits would begin when what runs has ended.
        for message_id in found:
            try:
                await self._stopping.stop_for("user", message_id)
            except Exception as error:  # noqa: BLE001 - one answer's failure is not the others'
                log.warning("message %s is stopped later: %s", message_id, describe(error))
