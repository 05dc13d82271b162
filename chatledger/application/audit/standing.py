"""How the notary does."""

from collections.abc import Sequence

import msgspec

from chatledger.application.audit.delivering import CheckpointDelivery, SinkStatus
from chatledger.application.audit.notarizing import Notarizing
from chatledger.application.ports.notary import NotaryStore, SignedCheckpoint


class NotaryStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How the notary does.

    Attributes:
        origin: the name of the ledger's log.
        verifier_keys: what its signatures are checked with, oldest first; the last one signs.
        checkpoint: the last one; None where nothing was signed yet.
        unsigned: how many events came after it.
        refusal: why nothing is signed at the moment; None while it is.
        sink: how far the sink is behind; None where there is none.
    """

    origin: str
    verifier_keys: Sequence[str]
    checkpoint: SignedCheckpoint | None
    unsigned: int
    refusal: str | None
    sink: SinkStatus | None


class Standing:
    """For whoever looks after the ledger."""

    def __init__(self, notarizing: Notarizing, store: NotaryStore, delivery: CheckpointDelivery | None) -> None:
        self._notarizing = notarizing
        self._store = store
        self._delivery = delivery

    async def look(self) -> NotaryStanding:
        """How it does now."""
        keys = self._notarizing.keys
        checkpoint = await self._store.newest(keys.origin)
        size = await self._store.read(lambda rows: rows.size())
        return NotaryStanding(
            origin=keys.origin,
            verifier_keys=[str(each.key) for each in keys.all()],
            checkpoint=checkpoint,
            unsigned=size - (checkpoint.size if checkpoint else 0),
            refusal=self._notarizing.refusal,
            sink=await self._delivery.status() if self._delivery else None,
        )
