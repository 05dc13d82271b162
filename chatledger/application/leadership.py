"""What one of several nodes does at a time: under a lease, and taken over when that node goes away."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from chatledger.application.background import Background
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.leases import Lease, Leases
from chatledger.application.ports.storage import StorageUnavailableError

log = logging.getLogger(__name__)

MARGIN = 0.2
"""The part of a lease, at its end, in which nothing is done under it any more: work takes a moment to end, and no two
clocks run alike."""

BEATS = 4
"""How often a lease is renewed in its time, at least."""

SECONDS_TO_RELEASE = 2.0
"""Then the lease ends by itself."""

Work = Callable[[], Coroutine[Any, Any, None]]


class Post:
    """Work of one kind, which one node at a time does: whichever has its lease.

    The work is begun with the lease, and cancelled as soon as the lease cannot be renewed in time; only once it has
    ended is the lease asked for again. Where one process has the ledger to itself, it just runs.
    """

    def __init__(self, name: str, leases: Leases | None, clock: Clock) -> None:
        self.name = name
        self._leases = leases
        self._clock = clock
        self._lease: Lease | None = None
        self._until = math.inf if leases is None else -math.inf
        self._is_open = False
        self._changed = asyncio.Event()

    def fence(self) -> Lease | None:
        """The lease that its work is done under; None where one process has the ledger to itself."""
        return self._lease

    @asynccontextmanager
    async def filled(self, *work: Work, finish: Work | None = None) -> AsyncIterator[None]:
        """Do the work while inside, whenever it falls to this node.

        Args:
            work: runs until it is cancelled; what fails is begun again.
            finish: what the node that does the work does at the end, while the work still runs.
        """
        self._is_open = True
        tending = asyncio.create_task(self._tend(work, finish))
        try:
            yield
        finally:
            self._is_open = False
            self._changed.set()
            try:
                await tending
            finally:
                tending.cancel()
                await asyncio.gather(tending, return_exceptions=True)

    async def _tend(self, work: tuple[Work, ...], finish: Work | None) -> None:
        while self._is_open:
            if self._is_held:
                async with Background() as background:
                    background.start(*work)
                    while self._is_open and self._is_held:
                        await self._change()
                    if finish is not None and self._is_held:
                        await self._while_held(finish)
            else:
                await self._change()
            if not (self._is_open and self._is_held):
                await self._step_down()

    async def _while_held(self, finish: Work) -> None:
        finishing = asyncio.create_task(finish())
        finishing.add_done_callback(lambda _: self._changed.set())
        try:
            while self._is_held and not finishing.done():
                await self._change()
        finally:
            finishing.cancel()
            await asyncio.gather(finishing, return_exceptions=True)

    async def _step_down(self) -> None:
        """The work has ended, or its lease came too late for it to begin: another node may."""
        if self._leases is None or self._lease is None:
            return
        log.info("%s: not done by this node any more", self.name)
        lease, self._lease, self._until = self._lease, None, -math.inf
        with suppress(StorageUnavailableError, TimeoutError):
            async with asyncio.timeout(SECONDS_TO_RELEASE):
                await self._leases.release(lease)

    @property
    def _is_held(self) -> bool:
        return self._clock.monotonic() < self._until

    async def _change(self) -> None:
        """Wait until something is different, or the lease ends."""
        left = max(0.0, self._until - self._clock.monotonic()) if math.isfinite(self._until) else None
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._changed.wait()
        self._changed.clear()

    # What the leadership says

    @property
    def is_vacant(self) -> bool:
        """Whether its lease is to be asked for."""
        return self._is_open and self._lease is None

    def take(self, lease: Lease, until: float) -> None:
        """Begin: the lease is this node's."""
        log.info("%s: done by this node from now on (%d)", self.name, lease.token)
        self._lease, self._until = lease, until
        self._changed.set()

    def renew(self, lease: Lease, until: float) -> None:
        """Go on, unless the work is being ended already."""
        if self._lease == lease and self._is_held:
            self._until = until

    def lose(self, lease: Lease) -> None:
        """End: the lease is another's, or nobody's."""
        if self._lease == lease:
            self._until = -math.inf
            self._changed.set()


class Leadership:
    """The leases of one node: renewed well before they end, and asked for again and again where others have them.

    Args:
        leases: None where one process has the ledger to itself: then everything falls to it.
        holder: this node; no other one, and no earlier one, has its name.
        seconds: how long a lease lasts.
        interval: seconds from one look to the next.
    """

    def __init__(self, leases: Leases | None, holder: str, clock: Clock, *, seconds: float, interval: float) -> None:
        self._leases = leases
        self._holder = holder
        self._clock = clock
        self._seconds = seconds
        self._interval = min(interval, seconds / BEATS)
        self._posts: dict[str, Post] = {}
        self._is_in_trouble = False

    def post(self, name: str) -> Post:
        """The post of this name, the same one each time. It is filled once at most."""
        return self._posts.setdefault(name, Post(name, self._leases, self._clock))

    async def run(self) -> None:
        """Keep what this node has, and take what is free."""
        if self._leases is None:
            return
        while True:
            began = self._clock.monotonic()
            try:
                async with asyncio.timeout(self._seconds):
                    await self._renew(self._leases)
                    await self._acquire(self._leases)
            except (StorageUnavailableError, TimeoutError) as error:
                if not self._is_in_trouble:
                    log.warning("leases: the store is in trouble: %s", error)
                self._is_in_trouble = True
            else:
                self._is_in_trouble = False
            await asyncio.sleep(max(0.0, began + self._interval - self._clock.monotonic()))

    async def _renew(self, leases: Leases) -> None:
        until = self._until()
        held = [lease for post in self._posts.values() if (lease := post.fence()) is not None]
        if held:
            renewed = await leases.renew(held, self._seconds)
            for lease in held:
                if lease in renewed:
                    self._posts[lease.name].renew(lease, until)
                else:
                    self._posts[lease.name].lose(lease)

    async def _acquire(self, leases: Leases) -> None:
        until = self._until()
        vacant = [post.name for post in self._posts.values() if post.is_vacant]
        if vacant:
            for lease in await leases.acquire(vacant, self._holder, self._seconds):
                post = self._posts[lease.name]
                if post.is_vacant:
                    post.take(lease, until)
                else:
                    await leases.release(lease)

    def _until(self) -> float:
        """Counted from before the database is asked: there the lease begins later, and ends later."""
        return self._clock.monotonic() + self._seconds * (1 - MARGIN)
