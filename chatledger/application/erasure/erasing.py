"""Erasing a person: from the request to the last event, whatever happens in between."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from uuid import UUID

from chatledger.application.accepting import MAX_PAGE, accept_number
from chatledger.application.commands.stopping import Stopping
from chatledger.application.context import SYSTEM, Context
from chatledger.application.erasure.destroying import Destroying
from chatledger.application.erasure.emptying import empty_conversation
from chatledger.application.errors import HeldError, NotFoundError
from chatledger.application.fault_report import describe
from chatledger.application.ledger.envelope import Envelope
from chatledger.application.ledger.ledger import Ledger, Staged
from chatledger.application.ports.clock import IdFactory
from chatledger.application.ports.erasure import Belongings, Erasure, ErasureViews
from chatledger.application.ports.files import BlobStore
from chatledger.application.ports.storage import Transaction
from chatledger.application.ports.views import Page
from chatledger.application.search.indexing import Indexer
from chatledger.application.waiting import wait_at_most
from chatledger.domain.conversation import Conversation
from chatledger.domain.end_user import EndUser
from chatledger.domain.errors import LegalHoldError
from chatledger.domain.events import TERMINAL_EVENTS, EndUserErased, ErasureRequested
from chatledger.domain.file import File

log = logging.getLogger(__name__)

LOOK_INTERVAL = 10.0
"""Seconds between two looks for erasures that are not done: trouble in the store, or an end, came between."""

AT_ONCE = 50
"""How many conversations, files or answers are taken together, and how many people are at once."""

SECONDS_TO_LOOK = 1.0
"""Between two looks for what another process may have put on record: a request, an answer's end, the end of it all."""

SECONDS_TO_PURGE = 60.0
"""What the search index has to be rid of the person; then the next look goes on."""

SECONDS_TO_STOP = 30.0
"""What the answers under way have to end in; then the next look goes on."""


class Erasing:
    """A process manager: each of its steps may come again, and finds out what there is left to do.

    ``ErasureRequested`` is the point of no return; who comes with the external id after it is a new person. The answers
    under way are stopped. Once none is left the person's key is destroyed between two commits, and with it every key
    of theirs. Then all that was theirs is put on record as erased, the bytes of files are deleted, the search index and
    the ledger's log are rid of it, and at last ``EndUserErased`` says that it is done. It hears of requests as they are
    committed, and the read model knows which ones an earlier process left behind, or could not be done at once: those
    are tried again beside the new ones.
    """

    def __init__(
        self,
        ledger: Ledger,
        views: ErasureViews,
        stopping: Stopping,
        destroying: Destroying,
        blobs: BlobStore,
        new_id: IdFactory,
        indexer: Indexer | None = None,
    ) -> None:
        self._ledger = ledger
        self._views = views
        self._stopping = stopping
        self._destroying = destroying
        self._blobs = blobs
        self._new_id = new_id
        self._indexer = indexer
        self._requested = asyncio.Event()
        self._stopped: dict[UUID, asyncio.Event] = {}
        self._waiting: dict[UUID, set[asyncio.Event]] = {}
        self._under_way: set[UUID] = set()

    # What others ask for

    async def request(self, end_user_id: UUID, context: Context) -> Erasure:
        """Have a person erased, from now on and for good. Asking again changes nothing.

        Raises:
            NotFoundError: there is no such person.
            HeldError: a legal hold is in the way.
            StorageUnavailableError: the store is in trouble; nothing was written.
        """
        try:
            await self._ledger.decide(
                EndUser, end_user_id, lambda staged: staged.aggregate.request_erasure(), context, even_erased=True
            )
        except LegalHoldError as error:
            raise HeldError("a legal hold keeps this person from being erased") from error
        except LookupError as error:
            raise NotFoundError("end_user") from error
        return await self.erasure(end_user_id)

    async def belongings(self, end_user_id: UUID) -> Belongings:
        """How much there is to erase."""
        return await self._views.belongings(end_user_id)

    async def left(self, end_user_id: UUID) -> int:
        """How many conversations and files of a person are not on record as erased."""
        return await self._views.unerased(end_user_id)

    async def page(self, app_id: UUID | None, page: Page) -> tuple[Sequence[Erasure], bool]:
        """Some of those that were asked for, the last first, and whether more follow.

        Raises:
            InvalidParameterError: a page is not that long.
            NotFoundError: what it goes on from is none of them.
        """
        accept_number("limit", page.limit, 1, MAX_PAGE)
        found = await self._views.erasures(app_id, page)
        if found is None:
            raise NotFoundError("erasure")
        return found

    async def erasure(self, end_user_id: UUID) -> Erasure:
        """How far the erasing of a person has come.

        Raises:
            NotFoundError: nobody has asked for it.
        """
        found = await self._views.erasure(end_user_id)
        if found is None:
            raise NotFoundError("erasure")
        return found

    async def until_done(self, end_user_id: UUID, seconds: float) -> Erasure:
        """The same, once it is done or the time is over.

        Raises:
            NotFoundError: nobody has asked for it.
        """
        done = asyncio.Event()
        waiting = self._waiting.setdefault(end_user_id, set())
        waiting.add(done)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while (await self.erasure(end_user_id)).erased_position is None:
                        await wait_at_most(done, SECONDS_TO_LOOK)
        finally:
            waiting.remove(done)
            if not waiting:
                del self._waiting[end_user_id]
        return await self.erasure(end_user_id)

    # The process

    def committed(self, envelopes: Sequence[Envelope]) -> None:
        """Take note of committed events, in order."""
        for envelope in envelopes:
            body = envelope.body
            if isinstance(body, ErasureRequested):
                self._requested.set()
            elif isinstance(body, TERMINAL_EVENTS):
                if (stopped := self._stopped.get(envelope.stream_id)) is not None:
                    stopped.set()
            elif isinstance(body, EndUserErased):
                for waiting in self._waiting.get(envelope.stream_id, ()):
                    waiting.set()

    async def run(self) -> None:
        """Finish what an earlier process began, and what comes: neither keeps the other waiting."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._go_on(tasks))
            turns, last = asyncio.Semaphore(AT_ONCE), self._ledger.head_position
            while True:
                self._requested.clear()
                last = await self._begin(last, turns, tasks)
                await wait_at_most(self._requested, SECONDS_TO_LOOK)

    async def _go_on(self, tasks: asyncio.TaskGroup) -> None:
        """Try again and again what is not done, in turn: those that cannot be done yet do not keep the others out."""
        turns = asyncio.Semaphore(AT_ONCE)
        while True:
            await self._begin(0, turns, tasks)
            await asyncio.sleep(LOOK_INTERVAL)

    async def _begin(self, last: int, turns: asyncio.Semaphore, tasks: asyncio.TaskGroup) -> int:
        """Have erased whoever is to be and was asked for after a position; up to which one that is."""
        try:
            while page := await self._views.unfinished_erasures(last, AT_ONCE):
                for erasure in page:
                    await turns.acquire()
                    tasks.create_task(self._try(erasure, turns))
                    last = erasure.requested_position
        except Exception as error:  # noqa: BLE001 - the next look finds them
            log.warning("erasures are looked for later: %s", describe(error))
        return last

    async def _try(self, erasure: Erasure, turns: asyncio.Semaphore) -> None:
        if erasure.end_user_id in self._under_way:
            turns.release()
            return
        self._under_way.add(erasure.end_user_id)
        try:
            await self._erase(erasure)
        except Exception as error:  # noqa: BLE001 - one person's trouble is not the others', and a later look goes on
            log.warning("end user %s is erased later: %s", erasure.end_user_id, describe(error))
        finally:
            self._under_way.discard(erasure.end_user_id)
            turns.release()

    async def _erase(self, erasure: Erasure) -> None:
        requested = await self._ledger.event_at(erasure.requested_position)
        context = Context(
            actor=SYSTEM,
            correlation_id=self._new_id(),
            causation_id=requested.event_id,
            app_id=erasure.app_id,
        )
        while not await self._destroy(erasure):
            await self._stop_answers(erasure)
        await self._destroying.settle()
        await self._each(self._views.unerased_conversations, erasure, lambda one: self._conversation(one, context))
        await self._each(self._views.unerased_files, erasure, lambda one: self._file(one, context))
        if self._indexer is not None:
            await self._indexer.caught_up(self._ledger.head_position, SECONDS_TO_PURGE)
        await self._destroying.scrub()
        counted = await self._views.belongings(erasure.end_user_id)

        def erase(staged: Staged[EndUser]) -> None:
            staged.aggregate.erase(conversations=counted.conversations, files=counted.files)

        await self._ledger.decide(EndUser, erasure.end_user_id, erase, context, even_erased=True)

    async def _stop_answers(self, erasure: Erasure) -> None:
        """Have all answers under way end.

        Raises:
            TimeoutError: they have not in time.
        """
        async with asyncio.timeout(SECONDS_TO_STOP):
            while message_ids := await self._views.unended_messages(erasure.end_user_id, AT_ONCE):
                ended = asyncio.Event()
                self._stopped |= dict.fromkeys(message_ids, ended)
                try:
                    await asyncio.gather(*(self._stopping.stop_for("erasure", each) for each in message_ids))
                    await wait_at_most(ended, SECONDS_TO_LOOK)
                finally:
                    for message_id in message_ids:
                        self._stopped.pop(message_id, None)

    async def _destroy(self, erasure: Erasure) -> bool:
        """Whether the person's keys are gone; not as long as an answer of theirs is under way."""

        def choose(transaction: Transaction) -> Collection[UUID]:
            return () if transaction.has_unended(erasure.end_user_id) else (erasure.key_id,)

        return bool(await self._destroying.destroy(choose, is_final=True))

    async def _each(
        self,
        find: Callable[[UUID, int], Awaitable[Sequence[UUID]]],
        erasure: Erasure,
        erase: Callable[[UUID], Awaitable[None]],
    ) -> None:
        """A few at a time: they share commits, and others get their turn.

        Raises:
            RuntimeError: one of them is not on record as erased, whatever is done.
        """
        before: Sequence[UUID] = ()
        while found := await find(erasure.end_user_id, AT_ONCE):
            if found == before:
                raise RuntimeError("the read models do not say what is erased: rebuild them")
            await asyncio.gather(*map(erase, found))
            before = found

    async def _conversation(self, conversation_id: UUID, context: Context) -> None:
        await empty_conversation(self._ledger, self._views, conversation_id)
        await self._ledger.decide(
            Conversation, conversation_id, lambda staged: staged.aggregate.erase("erasure"), context, even_erased=True
        )

    async def _file(self, file_id: UUID, context: Context) -> None:
        await self._blobs.delete(file_id)
        await self._ledger.decide(
            File, file_id, lambda staged: staged.aggregate.erase("erasure"), context, even_erased=True
        )
