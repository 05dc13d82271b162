"""Erasing by age: conversations that have rested for longer than their app keeps them, and files that nobody shows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing, suppress
from uuid import UUID

from chatledger.application.context import SYSTEM, Context
from chatledger.application.erasure.destroying import Destroying
from chatledger.application.erasure.emptying import empty_conversation
from chatledger.application.fault_report import describe
from chatledger.application.ledger.envelope import MICROSECONDS_PER_DAY, Envelope, to_microseconds
from chatledger.application.ledger.ledger import Ledger
from chatledger.application.ports.clock import Clock, IdFactory
from chatledger.application.ports.erasure import ErasureViews, Resting, Retention
from chatledger.application.ports.files import BlobStore
from chatledger.application.ports.storage import Transaction
from chatledger.domain.conversation import Conversation
from chatledger.domain.events import RetentionSet
from chatledger.domain.file import File

log = logging.getLogger(__name__)

LOOK_INTERVAL = 600.0
"""Seconds between two looks: what is kept for days is erased within minutes after."""

AT_ONCE = 50

LONGEST_RUN = 100_000
"""How many things lose their keys before they are put on record: the key store is rid of these keys at one go."""


class Retaining:
    """A process manager. What is no longer kept loses its own key, and its person and their other things stay.

    The keys of a batch are destroyed between two commits, as far as nothing has happened and nobody holds the person
    by then; what is erased is put on record after that, once no file has the keys of the whole run. What an end or a
    failure kept from the record is known by the keys that are gone, whoever is held and whatever an app keeps by then.
    One thing's trouble is not the others'.
    """

    def __init__(
        self,
        ledger: Ledger,
        views: ErasureViews,
        destroying: Destroying,
        blobs: BlobStore,
        clock: Clock,
        new_id: IdFactory,
    ) -> None:
        self._ledger = ledger
        self._views = views
        self._destroying = destroying
        self._blobs = blobs
        self._clock = clock
        self._new_id = new_id
        self._is_set = asyncio.Event()
        self._may_be_unrecorded = True

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        if any(isinstance(envelope.body, RetentionSet) for envelope in envelopes):
            self._is_set.set()

    async def run(self) -> None:
        """Look at once, then again and again."""
        while True:
            self._is_set.clear()
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the next look finds what is left
                log.warning("what is kept no longer is erased later: %s", describe(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL):
                    await self._is_set.wait()

    async def look(self) -> None:
        """Erase all that is kept no longer, and put on record what an earlier look left out.

        Raises:
            StorageUnavailableError: the store is in trouble; the rest is erased later.
        """
        await self._try("what was begun earlier", self._finish())
        for retention in await self._views.retentions():
            await self._try(f"what app {retention.app_id} keeps no longer", self._erase(retention))

    async def _try(self, what: str, work: Awaitable[object]) -> None:
        """Do it, or say that it is done at a later look.

        Raises:
            StorageUnavailableError: the ledger takes nothing at the moment: then it is the same with everything else.
        """
        try:
            await work
        except Exception as error:
            self._may_be_unrecorded = True
            if self._ledger.trouble is not None:
                raise
            log.warning("%s is erased later: %s", what, describe(error))

    async def _finish(self) -> None:
        """Finish what this process or another has begun: files may have keys that somebody destroyed and then ended."""
        is_unrecorded, self._may_be_unrecorded = self._may_be_unrecorded, False
        await self._destroying.settle()
        if is_unrecorded:
            await self._record_the_rest()

    async def _record_the_rest(self) -> None:
        async with aclosing(self._destroying.destroyed_alone()) as pages:
            async for key_ids in pages:
                conversations, files = await self._views.unrecorded(key_ids)
                for one in conversations:
                    await self._conversation(one.id, self._context(one.app_id))
                for one in files:
                    await self._file(one.id, self._context(one.app_id))

    async def _erase(self, retention: Retention) -> None:
        before = to_microseconds(self._clock.now()) - retention.days * MICROSECONDS_PER_DAY
        app_id, context = retention.app_id, self._context(retention.app_id)
        await self._erase_each(
            lambda last: self._views.resting_conversations(app_id, before, last, AT_ONCE),
            lambda ledger, one: ledger.is_conversation_at_rest(one, before),
            lambda one: self._conversation(one, context),
        )
        await self._erase_each(
            lambda last: self._views.resting_files(app_id, before, last, AT_ONCE),
            lambda ledger, one: ledger.is_file_at_rest(one, before),
            lambda one: self._file(one, context),
        )

    async def _erase_each(
        self,
        find: Callable[[Resting | None], Awaitable[Sequence[Resting]]],
        rests: Callable[[Transaction, UUID], bool],
        record: Callable[[UUID], Awaitable[None]],
    ) -> None:
        last: Resting | None = None
        erased: list[UUID] = []
        while found := await find(last):
            erased += await self._destroy(found, rests)
            last = found[-1]
            if len(erased) >= LONGEST_RUN:
                await self._record(erased, record)
                erased.clear()
        await self._record(erased, record)

    async def _record(self, erased: Sequence[UUID], record: Callable[[UUID], Awaitable[None]]) -> None:
        if erased:
            await self._destroying.settle()
        for first in range(0, len(erased), AT_ONCE):
            await asyncio.gather(*map(record, erased[first : first + AT_ONCE]))

    async def _destroy(self, found: Sequence[Resting], rests: Callable[[Transaction, UUID], bool]) -> list[UUID]:
        """Destroy the keys of what is still at rest; which that was."""

        def choose(ledger: Transaction) -> Collection[UUID]:
            return {one.key_id for one in found if rests(ledger, one.id)}

        destroyed = await self._destroying.destroy(choose)
        return [one.id for one in found if one.key_id in destroyed]

    async def _conversation(self, conversation_id: UUID, context: Context) -> None:
        await self._try(f"conversation {conversation_id}", self._forget_conversation(conversation_id, context))

    async def _forget_conversation(self, conversation_id: UUID, context: Context) -> None:
        await empty_conversation(self._ledger, self._views, conversation_id)
        await self._ledger.decide(
            Conversation, conversation_id, lambda staged: staged.aggregate.erase("retention"), context, even_erased=True
        )

    async def _file(self, file_id: UUID, context: Context) -> None:
        await self._try(f"file {file_id}", self._forget_file(file_id, context))

    async def _forget_file(self, file_id: UUID, context: Context) -> None:
        await self._blobs.delete(file_id)
        await self._ledger.decide(
            File, file_id, lambda staged: staged.aggregate.erase("retention"), context, even_erased=True
        )

    def _context(self, app_id: UUID) -> Context:
        return Context(actor=SYSTEM, correlation_id=self._new_id(), app_id=app_id)
