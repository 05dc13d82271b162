"""What every live bus between processes has in common: its own process is told at once, whatever becomes of others."""

from collections.abc import Callable
from uuid import UUID

from chatledger.adapters.queue.in_process import InProcessListener, InProcessLiveBus
from chatledger.application.ports.queue import Listener
from chatledger.domain.events import REGISTRY, StopRequested

STOP_REQUESTED = REGISTRY.of(StopRequested).name


class SharedLiveBus:
    """The listeners of this process, and those here who are to hear of stops. How others are told is a subclass's."""

    def __init__(self) -> None:
        self._here = InProcessLiveBus()
        self._stop_observers: list[Callable[[UUID], None]] = []

    def rouse(self) -> None:
        """Wake all listeners of this process, as if each had been told something."""
        self._here.rouse()

    def listen(self, subject_id: UUID) -> InProcessListener:
        """Begin to listen to one message, up to its terminal event, or to all messages of a conversation."""
        return self._here.listen(subject_id)

    def stop_listen(self, subject_id: UUID, listener: Listener) -> None:
        """End listening."""
        self._here.stop_listen(subject_id, listener)

    def observe_stops(self, observer: Callable[[UUID], None]) -> None:
        """Call ``observer`` with each message that another process has asked the end of. It must not block or raise."""
        self._stop_observers.append(observer)

    def _hear_stop(self, message_id: UUID) -> None:
        for observer in self._stop_observers:
            observer(message_id)
