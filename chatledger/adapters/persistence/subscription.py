"""Following an application's events, or the ledger's, with the ``eventsourcing`` library."""

import threading
from collections.abc import Sequence
from typing import Any, Protocol

from eventsourcing.persistence import ListenNotifySubscription


class Followed(Protocol):
    """What a subscription needs of its recorder beside what every recorder of the library has."""

    def listen(self, listener: threading.Event) -> None:
        """Set the event at commits."""
        ...

    def unlisten(self, listener: threading.Event) -> None:
        """Leave the event alone from now on."""
        ...


class SqlSubscription(ListenNotifySubscription[Any]):
    """Woken at once by the commits that its recorder hears of, and by any other by looking for it now and then."""

    poll_interval = 0.5

    def __init__(self, recorder: Followed, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        recorder.listen(self._has_been_notified)
        # The thread has begun to read by now: what was committed before the line above must not wait for the next.
        self._has_been_notified.set()

    def stop(self) -> None:
        """End the iteration and the thread behind it."""
        super().stop()
        self._recorder.unlisten(self._has_been_notified)
        if threading.current_thread() is not self._pull_thread:
            self._pull_thread.join()

    def _pull(self) -> None:
        # Asked before the pages are read: whatever stands up to here and is on none of them was filtered out.
        head = self._recorder.max_notification_id() if self._topics else None
        super()._pull()
        if head is not None and not self._has_been_stopped:
            self._last_notification_id = max(head, self._last_notification_id or 0)

    def _loop_on_pull(self) -> None:
        try:
            while not self._has_been_stopped:
                self._pull()
                self._has_been_notified.wait(self.poll_interval)
        except Exception as error:  # noqa: BLE001 - raised again in the iteration
            self._thread_error = error
            self.stop()
