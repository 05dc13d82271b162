"""Read models that lag behind the ledger: a release with others has appended since, or they are new."""

from collections.abc import Callable
from typing import TypeVar

from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.projections import InlineProjections
from chatledger.application.ledger.rebuild import Progress, Replay
from chatledger.application.ports.storage import LedgerStore, Transaction

T = TypeVar("T")

PAGE = 500
"""Events that are moved in one transaction, and that others may have to wait for."""

ROUNDS = 2
"""Beside all commits. Whatever is left then is moved under the lock: others may append more than a page each time."""


def catch_up(transaction: Transaction, codec: EventCodec, projections: InlineProjections, most: int | None) -> bool:
    """Move this release's read models to the head, under the ledger's lock.

    False where more than ``most`` events are left to be moved. Where there are no read models nothing is.
    """
    head, moved_to = transaction.position(), transaction.moved_to()
    if moved_to is None or moved_to == head:
        return True
    moved_to = transaction.hold_read_models()
    if most is not None and head - moved_to > most:
        return False
    replay = Replay(codec, projections, moved_to)
    transaction.move_read_models([change for page in replay.pages(transaction) for change in page], head)
    return True


class CatchingUp:
    """Moves this release's read models to where the ledger is. Blocks.

    Args:
        store: the ledger's.
        codec: opens its events.
        projections: what they change.
    """

    def __init__(self, store: LedgerStore, codec: EventCodec, projections: InlineProjections) -> None:
        self._store = store
        self._codec = codec
        self._projections = projections

    def finish(self, transaction: Transaction, most: int | None) -> bool:
        """Move them to the head, under the ledger's lock; False where more than ``most`` events are left."""
        return catch_up(transaction, self._codec, self._projections, most)

    def at_the_head(self, work: Callable[[Transaction], T], progress: Progress = lambda _done, _total: None) -> T:
        """The result of work in a write transaction whose read models show all that is committed.

        Raises:
            StorageUnavailableError: the store is in trouble; they are moved as far as they came.
            SchemaError: there are none of this release.
        """
        results = list[T]()

        def has_worked(most: int | None) -> bool:
            with self._store.write() as transaction:
                if not self.finish(transaction, most):
                    return False
                results.append(work(transaction))
            return True

        self.before(has_worked, progress)
        return results[-1]

    def before(self, work: Callable[[int | None], bool], progress: Progress = lambda _done, _total: None) -> None:
        """Have work done that begins with :meth:`finish`, of so many events, and is tried again where that failed.

        Raises:
            StorageUnavailableError: the store is in trouble; they are moved as far as they came.
            SchemaError: there are none of this release.
        """
        for _ in range(ROUNDS):
            if work(PAGE):
                return
            self.approach(progress)
        work(None)

    def approach(self, progress: Progress = lambda _done, _total: None) -> None:
        """Move them page by page beside all commits, until few events are left: those go with the next commit.

        Several processes may do so at once: each page is moved once.

        Raises:
            StorageUnavailableError: the store is in trouble; they are moved as far as they came.
            SchemaError: there are none of this release.
        """
        replay, left = Replay(self._codec, self._projections), PAGE
        while left >= PAGE:
            with self._store.aside() as transaction:
                moved_to, last = transaction.hold_read_models(), transaction.position()
                if moved_to != replay.position:
                    replay = Replay(self._codec, self._projections, moved_to)
                left = last - moved_to
                if left >= PAGE:
                    transaction.move_read_models(replay.read_on(transaction, PAGE), replay.position)
            progress(replay.position, last)

    def run(self, progress: Progress = lambda _done, _total: None) -> None:
        """Move them to the head.

        Raises:
            StorageUnavailableError: the store is in trouble; they are moved as far as they came.
            SchemaError: there are none of this release.
        """
        self.at_the_head(lambda _transaction: None, progress)
