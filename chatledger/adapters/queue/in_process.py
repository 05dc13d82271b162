"""The task queue and the live bus of one process. Both may forget everything: the ledger does not."""

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from chatledger.application.ports.queue import Delivery, Listener, QueueFullError, QueueItem
from chatledger.domain.events import REGISTRY, TERMINAL_EVENTS

MAX_QUEUED = 10_000

TERMINAL = frozenset(REGISTRY.of(body).name for body in TERMINAL_EVENTS)

_Key = tuple[UUID, int, int]


class InProcessTaskQueue:
    """A bounded first-in, first-out queue that holds each task, attempt and dispatch once."""

    def __init__(self, bound: int = MAX_QUEUED) -> None:
        self._items: asyncio.Queue[QueueItem | None] = asyncio.Queue()
        self._bound = bound
        self._waiting: set[_Key] = set()
        self._takers = 0
        self._is_stopped = False

    @property
    def is_away(self) -> bool:
        """Never."""
        return False

    async def publish(self, item: QueueItem) -> bool:
        """Offer work; False if the same task, attempt and dispatch is waiting already.

        Raises:
            QueueFullError: the bound is reached.
        """
        key = _key(item)
        if key in self._waiting:
            return False
        if len(self._waiting) >= self._bound:
            raise QueueFullError
        self._waiting.add(key)
        self._items.put_nowait(item)
        return True

    async def take(self, most: int) -> Sequence[Delivery]:
        """Wait for work, and take ``most`` of it or what there is; nothing after :meth:`stop_taking`."""
        taken: list[Delivery] = []
        self._takers += 1
        try:
            while not self._is_stopped and len(taken) < most and not (taken and self._items.empty()):
                if (item := await self._items.get()) is not None:
                    self._waiting.discard(_key(item))
                    taken.append(_Taken(item, self._offer_again))
        finally:
            self._takers -= 1
        return taken

    def _offer_again(self, item: QueueItem) -> None:
        """Unless it is there already, or there is no room: then it is left to the sweeper."""
        key = _key(item)
        if key not in self._waiting and len(self._waiting) < self._bound:
            self._waiting.add(key)
            self._items.put_nowait(item)

    async def stop_taking(self) -> None:
        """End every :meth:`take`. What was not taken stays queued."""
        self._is_stopped = True
        for _ in range(self._takers):
            self._items.put_nowait(None)


class _Taken(msgspec.Struct, frozen=True):
    item: QueueItem
    offer_again: Callable[[QueueItem], None]

    def done(self) -> None:
        """Nothing: what this process had taken nobody else waits for."""

    def put_back(self, delay: float) -> None:
        """Offer it once more then."""
        asyncio.get_running_loop().call_later(delay, self.offer_again, self.item)


def _key(item: QueueItem) -> _Key:
    return item.task_id, item.attempt, item.dispatch


class InProcessListener:
    """Waits without a task of its own."""

    def __init__(self) -> None:
        self._has_news = False
        self._waiter: asyncio.Future[bool] | None = None

    def tell(self) -> None:
        """Something was published."""
        self._has_news = True
        self._settle(told=True)

    def _settle(self, *, told: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(told)

    async def wait(self, timeout: float) -> bool:
        """Until something was published since the last call: True; or until ``timeout`` seconds passed: False."""
        if not self._has_news:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout, lambda: self._settle(told=False))
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        told, self._has_news = self._has_news, False
        return told


class InProcessLiveBus:
    """Wakes the listeners of a message and of its conversation.

    A terminal event ends the listening to its message: nothing more will be told. To its conversation it goes on.
    """

    def __init__(self) -> None:
        # By the numbers of ids, which are found faster than ids.
        self._listeners: dict[int, set[InProcessListener]] = {}

    @property
    def has_listeners(self) -> bool:
        """Whether anybody in this process listens to anything."""
        return bool(self._listeners)

    def publish(self, item: QueueItem) -> None:
        """Tell all listeners of ``item.message_id`` and of ``item.conversation_id``. Never waits for them."""
        self.tell(item.message_id.int, item.conversation_id.int, is_terminal=item.event in TERMINAL)

    def tell(self, message_id: int, conversation_id: int, *, is_terminal: bool) -> None:
        """Tell that something happened to a message."""
        for subject_id in (message_id, conversation_id):
            for listener in self._listeners.get(subject_id, ()):
                listener.tell()
        if is_terminal:
            self._listeners.pop(message_id, None)

    def rouse(self) -> None:
        """Wake all listeners, as if each had been told something."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.tell()

    def listen(self, subject_id: UUID) -> InProcessListener:
        """Begin to listen to one message, up to its terminal event, or to all messages of a conversation."""
        listener = InProcessListener()
        self._listeners.setdefault(subject_id.int, set()).add(listener)
        return listener

    def stop_listen(self, subject_id: UUID, listener: Listener) -> None:
        """End listening."""
        listeners = self._listeners.get(subject_id.int)
        if listeners is not None and isinstance(listener, InProcessListener):
            listeners.discard(listener)
            if not listeners:
                del self._listeners[subject_id.int]

    def observe_stops(self, observer: Callable[[UUID], None]) -> None:
        """Nothing: there is no other process."""
