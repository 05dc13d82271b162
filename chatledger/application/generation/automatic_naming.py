"""Naming new conversations by themselves: a reaction to their beginning, never in the way of the answer."""

import asyncio
import logging
from collections.abc import Sequence
from uuid import UUID

from chatledger.application.commands.naming import Naming
from chatledger.application.context import SYSTEM, Context
from chatledger.application.errors import NotFoundError
from chatledger.application.fault_report import describe
from chatledger.application.ledger.envelope import Envelope, to_microseconds
from chatledger.application.ledger.hand_ins import VersionConflictError
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.keys import KeyDestroyedError
from chatledger.application.ports.storage import StorageUnavailableError
from chatledger.application.ports.views import Views
from chatledger.domain.conversation import Conversation
from chatledger.domain.errors import ConversationDeletedError
from chatledger.domain.events import ConversationStarted
from chatledger.domain.names import line_of

log = logging.getLogger(__name__)

CONCURRENCY = 8
MAX_WAITING = 10_000

LOOK_INTERVAL = 60.0
"""Seconds between two looks for conversations that were passed over: by a full queue, trouble in the store, an end."""

SECONDS_TO_NAME = 60.0
"""For the node that a conversation was begun by, where there are others; then one of those names it."""


class AutomaticNaming:
    """Finds each conversation that is to have a name a name, once.

    It hears of new ones as they are committed. The read model knows which still wait: what another process left behind
    is found there, by one node for all.

    Args:
        is_alone: whether no other node may just be naming what waits.
    """

    def __init__(self, ledger: Ledger, views: Views, naming: Naming, clock: Clock, *, is_alone: bool) -> None:
        self._ledger = ledger
        self._views = views
        self._naming = naming
        self._clock = clock
        self._is_alone = is_alone
        self._waiting: asyncio.Queue[UUID] = asyncio.Queue(MAX_WAITING)
        self._known: set[UUID] = set()

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        for envelope in envelopes:
            if isinstance(envelope.body, ConversationStarted) and envelope.body.automatic_name:
                self._take(envelope.stream_id)

    async def follow(self) -> None:
        """Name what comes, and what was found."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(self._work())

    async def look_back(self) -> None:
        """Find what was left behind: one node for all."""
        while True:
            await self._look()
            await asyncio.sleep(LOOK_INTERVAL)

    async def _look(self) -> None:
        now = to_microseconds(self._clock.now())
        begun_before = None if self._is_alone else now - int(SECONDS_TO_NAME * 1_000_000)
        try:
            for conversation_id in await self._views.unnamed(MAX_WAITING, begun_before):
                self._take(conversation_id)
        except Exception as error:  # noqa: BLE001 - those that are being named must not suffer from it
            log.warning("conversations without a name are looked for later: %s", describe(error))

    def _take(self, conversation_id: UUID) -> None:
        if conversation_id not in self._known and not self._waiting.full():
            self._known.add(conversation_id)
            self._waiting.put_nowait(conversation_id)

    async def _work(self) -> None:
        while True:
            conversation_id = await self._waiting.get()
            try:
                await self._name(conversation_id)
            except (NotFoundError, ConversationDeletedError, KeyDestroyedError):
                log.info("conversation %s has gone before it had a name", conversation_id)
            except (StorageUnavailableError, VersionConflictError):
                log.warning("conversation %s is named later: the store is in trouble", conversation_id)
            except Exception as error:  # noqa: BLE001 - one conversation's failure is not the others'
                log.warning("conversation %s gets no name: %s", conversation_id, describe(error))
                continue
            self._known.discard(conversation_id)

    async def _name(self, conversation_id: UUID) -> None:
        first = await self._naming.first_message(conversation_id)
        name = await self._naming.find_name(first) or line_of(first.created.query)
        context = Context(
            actor=SYSTEM,
            correlation_id=first.created.task_id,
            causation_id=first.event_id,
            app_id=first.created.app_id,
        )

        def decide(staged: Staged[Conversation]) -> None:
            staged.aggregate.take_first_name(name)

        await self._ledger.decide(Conversation, conversation_id, decide, context)
