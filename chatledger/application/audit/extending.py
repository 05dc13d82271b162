"""What was signed last, and whether the ledger extends it. Nothing is written here."""

import asyncio
import random

import msgspec

from chatledger.application.audit.merkle import ProofError, consistency_proof, root, verify_consistency
from chatledger.application.audit.notary_keys import NotaryKeys
from chatledger.application.audit.notes import Checkpoint, Note, NoteError, VerifierKey
from chatledger.application.audit.tiles import TILE_HEIGHT, MissingLeafError, TiledTree
from chatledger.application.errors import LedgerInconsistentError
from chatledger.application.ports.notary import NotaryMemory, NotaryStore, SignedCheckpoint, TreeRows

LOOKED_THROUGH = 64
"""So many of the older tiles are made again from their leaves each time, in turn, whatever the ledger's length: a leaf
that was changed long after it was signed is found in the course of time."""


class LastSigned(msgspec.Struct, frozen=True):
    """The last checkpoint that was signed.

    Attributes:
        kept: as it is on the ledger's record; None where only the notary's memory has it.
        signers: the notary's keys that have signed it.
        remembered: what the notary's memory has of this log: this one, or an older one; None where it has nothing.
    """

    kept: SignedCheckpoint | None
    note: bytes
    checkpoint: Checkpoint
    signers: list[VerifierKey]
    remembered: bytes | None


class Extending:
    """Looks at the ledger of a key store as the notary does before it signs."""

    def __init__(self, store: NotaryStore, keys: NotaryKeys, memory: NotaryMemory) -> None:
        self._store = store
        self._keys = keys
        self._memory = memory
        self._looked_through = random.randrange(2**32)  # noqa: S311 - whichever

    async def last(self) -> LastSigned | None:
        """What was signed last: on record, or only in the notary's memory, where a crash came between the two.

        Raises:
            LedgerInconsistentError: it is not the notary's, or the ledger is not that of the key store.
            StorageUnavailableError: the store, or the key store, is in trouble.
        """
        origin = self._keys.origin
        claimed, own = await self._store.incarnation(), await asyncio.to_thread(self._memory.incarnation)
        if own is not None and claimed != own:
            raise LedgerInconsistentError(f"the ledger says that it is {claimed}, and the key store is that of {own}")
        kept, remembered = await self._store.newest(origin), await asyncio.to_thread(self._memory.recall, origin)
        last = LastSigned(kept, kept.note, *self._opened(kept.note), remembered) if kept else None
        if remembered is None or (last and last.note == remembered):
            return last
        checkpoint, signers = self._opened(remembered)
        is_newer = last is None or checkpoint.size >= last.checkpoint.size
        return LastSigned(None, remembered, checkpoint, signers, remembered) if is_newer else last

    def _opened(self, raw: bytes) -> tuple[Checkpoint, list[VerifierKey]]:
        keys = [key.key for key in self._keys.all()]
        try:
            return Checkpoint.opened(Note.parse(raw), keys, self._keys.is_signed_by)
        except NoteError as error:
            raise LedgerInconsistentError(f"the last checkpoint on record is not the notary's: {error}") from error

    async def extension(self, last: LastSigned | None) -> tuple[Checkpoint, bool]:
        """The ledger as it is, if it extends the last checkpoint; and whether its tiles are those of its leaves.

        Raises:
            LedgerInconsistentError: it does not.
            StorageUnavailableError: the store is in trouble.
        """
        origin, checkpoint, nth = self._keys.origin, last.checkpoint if last else None, self._looked_through
        self._looked_through += 1
        try:
            return await self._store.read(
                lambda rows: (_extended(rows, origin, checkpoint, nth, trusts_tiles=True), True)
            )
        except LedgerInconsistentError:
            return await self._store.read(
                lambda rows: (_extended(rows, origin, checkpoint, nth, trusts_tiles=False), False)
            )


def _extended(rows: TreeRows, origin: str, last: Checkpoint | None, nth: int, *, trusts_tiles: bool) -> Checkpoint:
    tree, size = TiledTree(rows, trusts_tiles=trusts_tiles), rows.size()
    if last and size < last.size:
        raise LedgerInconsistentError(f"the ledger ends at {size:,}, and {last.size:,} events were signed")
    try:
        if trusts_tiles and not tree.stands(_some_tiles(size, nth)):
            raise LedgerInconsistentError("some of its tiles are not those of its leaves")
        head = Checkpoint(origin, size, root(size, tree.node))
        if last is None:
            return head
        proof = consistency_proof(last.size, size, tree.node)
        verify_consistency(last.size, size, last.root, head.root, proof)
    except MissingLeafError as error:
        raise LedgerInconsistentError(str(error)) from error
    except ProofError as error:
        raise LedgerInconsistentError("some of its events are not those that were signed") from error
    return head


def _some_tiles(size: int, nth: int) -> range:
    """Those whose turn it is."""
    full = size >> TILE_HEIGHT
    first = nth * LOOKED_THROUGH % full if full > LOOKED_THROUGH else 0
    return range(first, min(full, first + LOOKED_THROUGH))
