"""Destroying keys between two commits, and what then has to be forgotten in memory."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from chatledger.application.ledger.catching_up import CatchingUp
from chatledger.application.ports.erasure import Forgetful
from chatledger.application.ports.keys import SECONDS_TO_BE_KNOWN, Keyring
from chatledger.application.ports.storage import LedgerStore, StorageUnavailableError, Transaction

T = TypeVar("T")

SCRUBS = 10
SECONDS_BETWEEN_SCRUBS = 0.5
"""Whoever reads the store meanwhile lets go of what was deleted."""

Choose = Callable[[Transaction], Collection[UUID]]
"""The keys that may go, as the ledger stands under its lock."""


class RunAlone(Protocol):
    """Runs blocking work on the thread of the ledger's writer, between two commits."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """What came of it."""
        ...


class Destroying:
    """Whatever is handed in later meets destroyed keys; whatever was committed before is there to be seen.

    Args:
        catching_up: what may go is read where all that nodes of another release have committed is shown.
        forgetful: what keeps content in memory.
        is_shared: whether other processes have the keys at hand: then what follows waits until all know of it.
    """

    def __init__(
        self,
        store: LedgerStore,
        catching_up: CatchingUp,
        keyring: Keyring,
        run_alone: RunAlone,
        forgetful: Sequence[Forgetful],
        *,
        is_shared: bool = False,
    ) -> None:
        self._seconds_to_be_known = SECONDS_TO_BE_KNOWN if is_shared else 0
        self._store = store
        self._catching_up = catching_up
        self._keyring = keyring
        self._run_alone = run_alone
        self._forgetful = forgetful
        self._scrubbing = asyncio.Lock()
        self._settling = asyncio.Lock()
        self._asking = asyncio.Lock()

    async def destroy(self, choose: Choose, *, is_final: bool = False) -> Collection[UUID]:
        """Destroy the keys that may go, with all that they wrap; which those were. Those that are gone stay gone.

        They are of no use here from then on. Nothing is put on record before :meth:`settle`.

        Args:
            choose: says which may go.
            is_final: whether they may go whatever is committed later: so many that the lock is lost on the way, too.

        Raises:
            StorageUnavailableError: the ledger or the key store is in trouble; asking again finishes it.
        """

        def destroy_chosen(transaction: Transaction) -> Collection[UUID]:
            if not self._keyring.is_current:  # nobody waits for a key store that went away meanwhile
                raise StorageUnavailableError("the key store has said nothing for long")
            chosen = choose(transaction)
            if is_final:
                self._keyring.destroy(chosen)
            else:  # who stood still until here may have lost the lock, and somebody else decided otherwise since
                self._keyring.destroy(chosen, transaction.require_lock)
            return chosen

        def work() -> Collection[UUID]:
            self._keyring.require_current()
            return self._catching_up.at_the_head(destroy_chosen)

        async with self._asking:  # so that nobody waits for the key store under the ledger's lock
            await asyncio.to_thread(self._keyring.require_writable)
        chosen = await self._run_alone(work)
        if chosen:
            let_go(self._forgetful, self._keyring)
        return chosen

    async def settle(self) -> None:
        """Come back when every process knows what was destroyed until now, and no file of the key store has it.

        Whoever destroys much settles it together: beside commits, but each time a part of the store is written anew.

        Raises:
            StorageUnavailableError: the key store is in trouble, or somebody else has been reading it for long; asking
                again finishes it, in another process too.
        """
        # What another process commits until then, sealed by one of them, comes before whatever puts them on record.
        await asyncio.sleep(self._seconds_to_be_known)
        async with self._settling:  # the first one finds what others have destroyed before it, and they find it done
            await asyncio.to_thread(self._keyring.scrub)

    async def destroyed_alone(self) -> AsyncGenerator[Collection[UUID], None]:
        """The keys that are gone while what wrapped them is there, some at a time.

        Raises:
            StorageUnavailableError: while iterating: the key store is in trouble.
        """
        pages = iter(self._keyring.destroyed_alone())
        while (page := await asyncio.to_thread(next, pages, None)) is not None:
            yield page

    async def scrub(self) -> None:
        """Leave nothing in files of the ledger's own of what the read models have deleted.

        Raises:
            StorageUnavailableError: the ledger is in trouble, or somebody else has been reading it for long.
        """
        async with self._scrubbing:  # commits wait for each try: one at a time
            for _ in range(SCRUBS):
                if await self._run_alone(self._store.scrub):
                    return
                await asyncio.sleep(SECONDS_BETWEEN_SCRUBS)
        raise StorageUnavailableError("the ledger is being read: what was deleted is still in its log")


def let_go(forgetful: Sequence[Forgetful], keyring: Keyring) -> None:
    """Have content in memory forgotten that is sealed under keys which are not at hand, as destroyed ones are not."""

    def is_gone(key_id: UUID | None) -> bool:
        return key_id is not None and keyring.cached(key_id) is None

    for keeper in forgetful:
        keeper.forget_erased(is_gone)


def let_go_of_all(forgetful: Sequence[Forgetful]) -> None:
    """Have all content in memory forgotten that was sealed: which keys are destroyed is not known."""
    for keeper in forgetful:
        keeper.forget_erased(lambda key_id: key_id is not None)
