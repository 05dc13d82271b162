"""Work for the generators, and news for those who listen."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from chatledger.domain.values import AppMode

Source = Literal["application", "pipeline"]
"""Who published: the producer of the answer, or the machinery around it (dispatch, stop)."""


class QueueItem(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope that travels between processes. It carries ids, never content.

    Attributes:
        event: the name of the ledger event that it tells of.
        version: that event's version in the message's stream.
        attempt: the attempt that the event belongs to, or that work would follow.
        dispatch: counts the times that the same work was published on purpose.
    """

    task_id: UUID
    message_id: UUID
    conversation_id: UUID
    mode: AppMode
    event: str
    source: Source
    version: int = 0
    attempt: int = 0
    dispatch: int = 0


class QueueFullError(Exception):
    """The bound is reached. The work is not lost: the sweeper finds it on the ledger."""


class QueueUnavailableError(Exception):
    """The queue cannot be reached. The work is not lost: the sweeper finds it on the ledger."""


class Delivery(Protocol):
    """Work that was taken: the taker's for as long as its process lives, until it is done with it or puts it back.

    What a process that dies had taken is delivered again, by the queue or by the sweeper.

    Attributes:
        item: the work.
    """

    @property
    def item(self) -> QueueItem:
        """The work."""
        ...

    def done(self) -> None:
        """Somebody is at it, which is on the ledger, or there is nothing to do. Never waits."""
        ...

    def put_back(self, delay: float) -> None:
        """Let whoever listens have it in so many seconds. Never waits."""
        ...


class TaskQueue(Protocol):
    """Generation tasks on their way to a worker, at least once.

    It may forget: whatever is unfinished on the ledger is found there by the sweeper.
    """

    @property
    def is_away(self) -> bool:
        """Whether it cannot be reached, as far as this process has noticed: then no work comes."""
        ...

    async def publish(self, item: QueueItem) -> bool:
        """Offer work; False if the same task, attempt and dispatch is waiting already.

        Raises:
            QueueFullError: the bound is reached.
            QueueUnavailableError: the queue cannot be reached.
        """
        ...

    async def take(self, most: int) -> Sequence[Delivery]:
        """Wait for work, and take ``most`` of it or what there is; nothing after :meth:`stop_taking`.

        Several takers share the work. A queue that cannot be reached is waited for. Whoever is cancelled takes nothing.
        """
        ...

    async def stop_taking(self) -> None:
        """End every :meth:`take` of this process. What was not taken stays queued."""
        ...


class Listener(Protocol):
    """One listener's place on the live bus."""

    async def wait(self, timeout: float) -> bool:
        """Until something was published since the last call: True; or until ``timeout`` seconds passed: False."""
        ...


class LiveBus(Protocol):
    """News of messages, as they happen. It only makes things faster: whoever misses one reads the ledger."""

    def publish(self, item: QueueItem) -> None:
        """Tell all listeners of ``item.message_id`` and of ``item.conversation_id``, wherever. Never waits for them."""
        ...

    def rouse(self) -> None:
        """Wake all listeners of this process, as if each had been told something."""
        ...

    def listen(self, subject_id: UUID) -> Listener:
        """Begin to listen to one message, up to its terminal event, or to all messages of a conversation."""
        ...

    def stop_listen(self, subject_id: UUID, listener: Listener) -> None:
        """End listening."""
        ...

    def observe_stops(self, observer: Callable[[UUID], None]) -> None:
        """Call ``observer`` with each message that another process has asked the end of. It must not block or raise."""
        ...
