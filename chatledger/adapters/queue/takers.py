"""Who in this process waits for work that comes from elsewhere."""

import asyncio
from collections import deque
from collections.abc import Sequence

import msgspec

from chatledger.application.ports.queue import Delivery


class _Taker(msgspec.Struct, frozen=True, eq=False):
    most: int
    taken: list[Delivery]
    woken: asyncio.Future[None]

    @property
    def room(self) -> int:
        """For how much more it would take; nothing if it was cancelled."""
        return 0 if self.woken.cancelled() else self.most - len(self.taken)

    def wake(self) -> None:
        """Let it go on with what it has."""
        if not self.woken.done():
            self.woken.set_result(None)


class Takers:
    """Each gets what comes until it goes on with it, and no more than it wants: first come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[_Taker] = deque()
        self._are_stopped = False

    @property
    def wanted(self) -> int:
        """How much is waited for by those that have nothing."""
        return sum(taker.most for taker in self._waiting if not taker.woken.done())

    async def wait(self, most: int) -> Sequence[Delivery]:
        """Wait until there is something, for ``most`` of it; nothing once they are stopped."""
        if self._are_stopped:
            return ()
        taker = _Taker(most, [], asyncio.get_running_loop().create_future())
        self._waiting.append(taker)
        try:
            await taker.woken
        except asyncio.CancelledError:
            for delivery in taker.taken:
                delivery.put_back(0)
            raise
        finally:
            self._waiting.remove(taker)
        return taker.taken

    def hand(self, delivery: Delivery) -> bool:
        """To who has waited longest; False if nobody does."""
        taker = None if self._are_stopped else next((taker for taker in self._waiting if taker.room), None)
        if taker is None:
            return False
        taker.taken.append(delivery)
        taker.wake()
        return True

    def stop(self) -> None:
        """Let all go, and those that come later too."""
        self._are_stopped = True
        for taker in self._waiting:
            taker.wake()
