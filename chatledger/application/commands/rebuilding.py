"""Making the read models anew from the ledger, and replaying them beside the live ones."""

from chatledger.application.ledger.codec import EventCodec
from chatledger.application.ledger.projections import READ_MODELS_VERSION, Projections
from chatledger.application.ledger.rebuild import Progress, Replay
from chatledger.application.ports.storage import LedgerStore, Transaction, Update

_THIS_VERSION = Update("head", {"singleton": 1}, {"read_models": READ_MODELS_VERSION})


class Rebuilding:
    """The use cases of whoever doubts the read models. Both block for as long as the ledger is long."""

    def __init__(self, codec: EventCodec, projections: Projections) -> None:
        self._codec = codec
        self._projections = projections

    def rebuild(self, store: LedgerStore, progress: Progress) -> int:
        """Replay all read models, of whatever version they were, in one transaction; how many events there were.

        Raises:
            StorageUnavailableError: the store is in trouble; nothing was changed.
        """
        with store.write() as transaction:
            transaction.apply([_THIS_VERSION])
            return self._replay(transaction, transaction, progress)

    def replay_beside(self, live: Transaction, scratch: Transaction, progress: Progress) -> int:
        """Fill the read models of ``scratch`` from the ledger of ``live``, which is only read.

        Raises:
            SchemaError: the live read models are of another version: there is nothing to compare.
        """
        return self._replay(live, scratch, progress)

    def _replay(self, source: Transaction, target: Transaction, progress: Progress) -> int:
        return Replay(self._codec, self._projections).run(source, target, progress)
