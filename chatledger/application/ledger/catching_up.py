"""Read models that lag behind the ledger: a release with others has appended since, or they are new."""

from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.projections import InlineProjections
from chatledger.application.ledger.rebuild import Progress, Replay
from chatledger.application.ports.storage import LedgerStore, Transaction

PAGE = 500
"""Events that are moved in one transaction, and that others may have to wait for."""


def catch_up(
    transaction: Transaction, codec: EventCodec, projections: InlineProjections, most: int | None = PAGE
) -> bool:
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

    def finish(self, transaction: Transaction) -> bool:
        """Move them to the head, under the ledger's lock; False where too many events are left for that."""
        return catch_up(transaction, self._codec, self._projections)

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
        while not self._has_finished():
            self.approach(progress)

    def _has_finished(self) -> bool:
        with self._store.write() as transaction:
            return self.finish(transaction)
