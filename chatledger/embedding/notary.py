"""The notary: signed checkpoints of the ledger, and proofs that lead to them."""

from chatledger.application.audit.proving import ConsistencyProof
from chatledger.application.audit.standing import NotaryStanding
from chatledger.application.audit.tlog_proof import TlogProof
from chatledger.application.ports.notary import SignedCheckpoint
from chatledger.embedding.access import Access


class Notary:
    """``ledger.notary``. Checkpoints are signed by themselves, too: now and then, and at the end."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def sign(self) -> SignedCheckpoint:
        """Sign the ledger as it is now. What is signed already is not signed again.

        Raises:
            LedgerInconsistentError: it does not extend what was signed before: nothing is signed.
        """
        with self._access.use() as application:
            return await application.notarizing.checkpoint(self._access.host())

    async def rotate_key(self) -> SignedCheckpoint:
        """Sign with a new key from here on; the checkpoint that covers its introduction, signed by the old one too.

        Raises:
            LedgerInconsistentError: the ledger does not extend what was signed before: the old key goes on.
        """
        with self._access.use() as application:
            return await application.notarizing.rotate_key(self._access.host())

    async def standing(self) -> NotaryStanding:
        """The log's name, the keys to check its checkpoints with, the last one, and how far the sink is behind."""
        with self._access.use() as application:
            return await application.standing.look()

    async def checkpoint(self, size: int | None = None) -> SignedCheckpoint:
        """The last checkpoint, or the last one that covers just so many events.

        Raises:
            NotFoundError: none was signed.
        """
        with self._access.use() as application:
            return await application.proving.checkpoint(size)

    async def prove(self, position: int, size: int | None = None) -> TlogProof:
        """That the event at a position is covered by a checkpoint: the last one, or that of a size.

        ``bytes()`` of the proof is what goes into a file.

        Raises:
            NotFoundError: no such checkpoint was signed.
            InvalidParameterError: it does not cover the position.
            LedgerInconsistentError: the event is not the one that was signed.
        """
        with self._access.use() as application:
            return await application.proving.inclusion(position, size)

    async def prove_extension(self, old: int, new: int | None = None) -> ConsistencyProof:
        """That the ledger of ``new`` events, or of the last checkpoint, extends that of ``old``.

        Raises:
            NotFoundError: no checkpoint was signed.
            InvalidParameterError: the sizes are not in this order, or nothing that large was signed.
            LedgerInconsistentError: the ledger has a hole.
        """
        with self._access.use() as application:
            return await application.proving.consistency(old, new)
